# E-mail consent and a preference centre from DataGuard CPM to the profiles of one Braze workspace.
#
#   BRAZE_API_KEY   a REST API key of the workspace
#   CPM_KEY         what the sender puts into X-API-Key

listener {
  address = "127.0.0.1:8484"
}

admin {
  address = "127.0.0.1:8485"
}

store "sqlite" {
  path = "consentd.db"
}

source "dataguard" {
  path        = "/webhooks/dataguard"
  update_type = "effective-permission"

  auth "api_key" {
    header = "X-API-Key"
    keys   = [env("CPM_KEY"), env("CPM_KEY_PREVIOUS", "")]
  }
}

option "newsletter_email" {
  id            = "k3Rmx"
  type          = "option"
  justification = "consent"
}

option "app_push" {
  id            = "p7Tqw"
  type          = "option"
  justification = "consent"
}

preference "interests" {
  reference = "interests"
}

target "braze" "crm" {
  max_in_flight = 4
  timeout       = "1m"

  config {
    api_key     = env("BRAZE_API_KEY")
    base_url    = "https://rest.fra-01.braze.eu" # the REST endpoint of your instance
    resubscribe = "never"                        # who unsubscribed in Braze stays out
    create      = false                          # who opts out and has no profile gets none
  }
}

# The same workspace, for the preference centre: there people come and go, and CPM has the last word. See
# "Coming back" in the README.
target "braze" "preferences" {
  max_in_flight = 4
  timeout       = "1m"

  config {
    api_key     = env("BRAZE_API_KEY")
    base_url    = "https://rest.fra-01.braze.eu"
    resubscribe = "force"
  }
}

rule "crm" {
  source = source.dataguard
  target = target.crm

  # Known, not allowed: a withdrawal has to be sent too.
  when = permission.newsletter_email.known

  record {
    external_id     = citizen.id
    email           = citizen.external_ref
    email_subscribe = permission.newsletter_email.allowed ? "opted_in" : "unsubscribed"

    attributes = {
      cpm_newsletter = permission.newsletter_email.allowed
    }
  }
}

# Push consent, for citizens who were asked.
rule "push" {
  source = source.dataguard
  target = target.crm
  when   = permission.app_push.known

  record {
    external_id    = citizen.id
    push_subscribe = permission.app_push.allowed ? "opted_in" : "unsubscribed"
  }
}

rule "preferences" {
  source = source.dataguard
  target = target.preferences
  when   = permission.newsletter_email.known

  record {
    external_id = citizen.id

    # Braze's id of each subscription group, and the choice that it stands for. Without the permission nobody
    # is in a group; a citizen whose update has no such preference keeps the groups as they are.
    subscription_groups = {
      for id, choice in {
        "504e09e6-ffa4-4b31-96c3-c05d50d903cf" = "interests_jazz"
        "0e7a1c58-6a0b-4a6e-8a35-0d8f2b7b1c11" = "interests_blues"
      } : id => permission.newsletter_email.allowed && contains(preference.interests.choices, choice)
      if preference.interests.known || !permission.newsletter_email.allowed
    }
  }
}
