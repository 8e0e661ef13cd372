# consentd for Dataverse and Dynamics 365: the do-not columns of contacts, and the consents of Customer
# Insights - Journeys. README.md says what to set up at Microsoft first.

log {
  level  = "info"
  format = "json"
}

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
    keys   = [env("CPM_KEY")]
  }
}

# The ids are those of the options in your DataGuard account.
option "newsletter_email" {
  id            = "k3Rmx"
  type          = "option"
  justification = "consent"
}

option "newsletter_phone" {
  id            = "h8Tzv"
  type          = "option"
  justification = "consent"
}

preference "interests" {
  reference = "interests"
}

target "dataverse" "crm" {
  max_in_flight = 4
  timeout       = "2m" # Dataverse itself gives up an operation after two minutes

  config {
    base_url      = env("DATAVERSE_URL") # https://acme.crm4.dynamics.com
    tenant_id     = env("DATAVERSE_TENANT_ID")
    client_id     = env("DATAVERSE_CLIENT_ID")
    client_secret = env("DATAVERSE_CLIENT_SECRET")

    # A certificate, instead of client_secret:
    # certificate = file("dataverse.crt")
    # private_key = file("dataverse.key")

    resubscribe = "force" # DataGuard is asked what a person wants now; an opt-out in Dynamics 365 gives way
  }
}

# The do-not columns of a contact that is there already, found by the customer number that DataGuard
# knows it by. They are inverted: true means that the person may not be contacted. It is told of whoever has
# said anything about a channel; what they have said nothing about is not allowed.
rule "contact" {
  source = source.dataguard
  target = target.crm
  when   = (permission.newsletter_email.known || permission.newsletter_phone.known) && citizen.external_ref != null

  record {
    table  = "contacts"
    key    = { acme_customernumber = citizen.external_ref }
    create = false

    columns = {
      donotbulkemail = !permission.newsletter_email.allowed
      donotphone     = !permission.newsletter_phone.allowed

      # A choice is its number: 2 is e-mail, 1 is any. Null would clear it.
      preferredcontactmethodcode = permission.newsletter_phone.allowed ? 1 : 2
    }
  }
}

# The consent to commercial mail. It belongs to the address, which DataGuard has as external reference here.
rule "purpose" {
  source = source.dataguard
  target = target.crm
  when   = permission.newsletter_email.known && can(regex("@", citizen.external_ref))

  record {
    consent {
      contact_point = citizen.external_ref
      channel       = "email"
      purpose       = "10000000-0000-0000-0000-000000000003"
      status        = permission.newsletter_email.allowed ? "opted_in" : "opted_out"
    }
  }
}

# One consent for each topic. A topic counts only where its purpose is opted in too.
rule "topics" {
  source = source.dataguard
  target = target.crm
  when   = preference.interests.known && can(regex("@", citizen.external_ref))

  for_each = {
    jazz  = "7d1a44b7-5a0e-4f3c-9a52-6f1d2c3b4a51"
    blues = "7d1a44b7-5a0e-4f3c-9a52-6f1d2c3b4a52"
  }

  record {
    consent {
      contact_point = citizen.external_ref
      channel       = "email"
      purpose       = "10000000-0000-0000-0000-000000000003"
      topic         = each.value
      status        = permission.newsletter_email.allowed && contains(preference.interests.choices, each.key) ? "opted_in" : "opted_out"
    }
  }
}
