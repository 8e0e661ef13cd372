# Newsletter consent and interests from DataGuard CPM to one Mailchimp audience.
#
#   MAILCHIMP_API_KEY   the account's key, with the data centre at its end (...-us21)
#   CPM_KEY             what the sender puts into X-API-Key

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

target "mailchimp" "newsletter" {
  max_in_flight = 4    # connections; Mailchimp allows an account 10, over all that use it
  timeout       = "2m" # Mailchimp itself gives up after 120 s

  config {
    api_key     = env("MAILCHIMP_API_KEY")
    list_id     = "a1b2c3d4e5"
    resubscribe = "confirm" # who left through Mailchimp and grants anew is asked by Mailchimp to confirm
    create      = false     # who opts out and is not in the audience stays out of it
  }
}

rule "newsletter" {
  source = source.dataguard
  target = target.newsletter

  # Known, not allowed: a withdrawal has to be sent too.
  when = permission.newsletter_email.known

  record {
    email  = citizen.external_ref
    status = permission.newsletter_email.allowed ? "subscribed" : "unsubscribed"

    # Proof of the opt-in. It also lets those back in, without being asked, whom consentd itself unsubscribed
    # and who have granted since.
    timestamp_opt = permission.newsletter_email.obtained_at

    # Mailchimp's id of each group name, and the choice that it stands for. A choice that is taken back
    # becomes false; a citizen whose update has no such preference keeps the groups as they are.
    interests = {
      for id, choice in {
        "9143cf3bd1" = "interests_jazz"
        "3a2a927344" = "interests_blues"
      } : id => contains(preference.interests.choices, choice) if preference.interests.known
    }

    # The audience's GDPR permission "Email".
    marketing_permissions = {
      "caa8dcb11e" = permission.newsletter_email.allowed
    }

    tags = {
      "cpm" = permission.newsletter_email.allowed
    }
  }
}
