# Consent to mail and calls, and interests, from DataGuard CPM to leads of one Marketo subscription.
#
#   MARKETO_CLIENT_ID, MARKETO_CLIENT_SECRET   of a LaunchPoint service
#   CPM_KEY                                    what the sender puts into X-API-Key

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

option "calls" {
  id            = "p8Wzq"
  type          = "option"
  justification = "consent"
}

preference "interests" {
  reference = "interests"
}

target "marketo" "crm" {
  max_in_flight = 2 # of the 10 calls at once that a subscription allows, over all that use it

  config {
    munchkin_id   = "123-ABC-456"
    client_id     = env("MARKETO_CLIENT_ID")
    client_secret = env("MARKETO_CLIENT_SECRET")
    resubscribe   = "never" # who opted out at Marketo stays out
    create        = false   # who opts out and is not in Marketo stays out of it
  }
}

# One rule for all that concerns a lead: a denial of somebody whom Marketo does not know has nothing to do, and
# would be missing if another rule then made the lead.
rule "leads" {
  source = source.dataguard
  target = target.crm

  # Known, not allowed: a withdrawal has to be sent too.
  when = permission.newsletter_email.known || permission.calls.known

  record {
    lookup_value = citizen.external_ref

    # The opt-out fields are inverted: true means not allowed, and so does a permission that is not known.
    fields = {
      for name, value in {
        unsubscribed       = !permission.newsletter_email.allowed
        unsubscribedReason = permission.newsletter_email.allowed ? null : "DataGuard CPM"
        doNotCall          = !permission.calls.allowed
        interests          = join(";", preference.interests.choices)
      } : name => value if name != "interests" || preference.interests.known
    }

    # The static list of those who get the newsletter.
    lists = {
      "1021" = permission.newsletter_email.allowed
    }
  }
}
