# Newsletter consent and interests from DataGuard CPM to HubSpot contacts.
#
#   HUBSPOT_ACCESS_TOKEN   the token of a private app (pat-...)
#   CPM_KEY                what the sender puts into X-API-Key

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

target "hubspot" "crm" {
  max_in_flight = 2    # of up to 100 people each, with two calls or more a person
  timeout       = "2m" # HubSpot takes 100 calls in ten seconds in the smaller plans

  config {
    access_token        = env("HUBSPOT_ACCESS_TOKEN")
    resubscribe         = "never" # who opted out at HubSpot stays out
    create              = false   # who opts out and is no contact does not become one
    batch_subscriptions = false   # true with Marketing Hub Enterprise
  }
}

rule "newsletter" {
  source = source.dataguard
  target = target.crm

  # Known, not allowed: a withdrawal has to be sent too.
  when = permission.newsletter_email.known

  record {
    email = citizen.external_ref

    # The id of the subscription type "Marketing Information".
    subscriptions = {
      "39644612" = permission.newsletter_email.allowed
    }
    legal_basis             = "CONSENT_WITH_NOTICE"
    legal_basis_explanation = "Recorded by DataGuard CPM"

    # A multiple checkbox of the contact, with an option for each choice. A citizen whose update has no
    # such preference keeps what HubSpot holds.
    properties = {
      for name, choices in { cpm_interests = preference.interests.choices } : name => join(";", choices) if preference.interests.known
    }
  }
}
