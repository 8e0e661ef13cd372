# Newsletter consent and interests from DataGuard CPM to Brevo contacts.
#
#   BREVO_API_KEY   the account's API key (xkeysib-...)
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

preference "interests" {
  reference = "interests"
}

target "brevo" "newsletter" {
  max_in_flight = 4
  timeout       = "30s"
  rate_limit    = "3/s" # Brevo takes 10 calls a second, and a record is up to three

  config {
    api_key     = env("BREVO_API_KEY")
    resubscribe = "never" # who opted out at Brevo stays out
    create      = false   # who opts out and is no contact does not become one
  }
}

rule "newsletter" {
  source = source.dataguard
  target = target.newsletter

  # Known, not allowed: a withdrawal has to be sent too.
  when = permission.newsletter_email.known

  record {
    email  = citizen.external_ref
    ext_id = citizen.id

    # Inverted: true means that no campaign may be sent.
    email_blacklisted = !permission.newsletter_email.allowed

    # Brevo's id of each list, and the choice that it stands for. A choice that is taken back becomes
    # false; a citizen whose update has no such preference stays on the lists.
    lists = {
      for id, choice in {
        "36" = "interests_jazz"
        "37" = "interests_blues"
      } : id => contains(preference.interests.choices, choice) if preference.interests.known
    }

    attributes = {
      CPM_ID = citizen.id
    }
  }
}
