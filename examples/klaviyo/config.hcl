# Consent to mail and text messages, and interests, from DataGuard CPM to one Klaviyo account.
#
#   KLAVIYO_API_KEY     a private API key (pk_...)
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

option "offers_sms" {
  id            = "p8Wzq"
  type          = "option"
  justification = "consent"
}

preference "interests" {
  reference = "interests"
}

target "klaviyo" "crm" {
  max_in_flight = 4

  config {
    api_key     = env("KLAVIYO_API_KEY")
    list_id     = "Y6nRLr" # who subscribes is added to it; its opt-in setting decides whether they are asked
    resubscribe = "never"  # who opted out at Klaviyo stays out
    create      = false    # who opts out and is not in Klaviyo stays out of it
  }
}

rule "consent" {
  source = source.dataguard
  target = target.crm

  # Known, not allowed: a withdrawal has to be sent too.
  when = permission.newsletter_email.known || permission.offers_sms.known

  record {
    email = citizen.external_ref

    # A channel that the update says nothing of is left alone.
    subscriptions = merge(
      permission.newsletter_email.known ? { email_marketing = permission.newsletter_email.allowed } : {},
      permission.offers_sms.known ? { sms_marketing = permission.offers_sms.allowed } : {},
    )

    # A list of text is a property that segments can ask for. Without the preference it is left alone.
    properties = {
      for name, value in { "CPM interests" = preference.interests.choices } : name => value if preference.interests.known
    }
  }
}
