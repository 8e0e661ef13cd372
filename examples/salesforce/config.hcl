# consentd for Salesforce: opt-out checkboxes on contacts, and Salesforce's own consent objects.
# README.md says what to set up in Salesforce first.

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

option "profiling" {
  id   = "p7Qaz"
  type = "option"
}

target "salesforce" "crm" {
  max_in_flight = 5
  timeout       = "60s"

  config {
    # Client credentials: the My Domain URL, and the consumer key and secret of the app.
    login_url     = env("SALESFORCE_LOGIN_URL") # https://acme.my.salesforce.com
    client_id     = env("SALESFORCE_CLIENT_ID")
    client_secret = env("SALESFORCE_CLIENT_SECRET")

    # JWT bearer, instead of client_secret:
    # username    = "consentd@acme.example"
    # private_key = file("salesforce.key")

    # Refresh token, with or without client_secret:
    # refresh_token = env("SALESFORCE_REFRESH_TOKEN")

    # What a record that only refuses does to somebody whom Salesforce does not know: nothing, unless the
    # record itself says create = true.
    create = false

    api_version = "v62.0"
  }
}

# The opt-out checkboxes of a contact that is in Salesforce already, found by the customer number that
# DataGuard knows it by. They are inverted: true means that the person may not be contacted. It is told of
# whoever has said anything about a channel; what they have said nothing about is not allowed.
rule "contact" {
  source = source.dataguard
  target = target.crm
  when   = (permission.newsletter_email.known || permission.newsletter_phone.known) && citizen.external_ref != null

  record {
    object            = "Contact"
    external_id_field = "Customer_Number__c"
    external_id       = citizen.external_ref
    create            = false # contacts are made by sales

    fields = {
      HasOptedOutOfEmail = !permission.newsletter_email.allowed
      DoNotCall          = !permission.newsletter_phone.allowed
      Individual         = { CPM_Id__c = citizen.id } # the lookup IndividualId, by external id
    }
  }
}

# The data privacy record of the person, which contacts and consents are linked to. It is made of
# everybody, also of who refuses, so that no record waits for a link that leads nowhere.
rule "individual" {
  source = source.dataguard
  target = target.crm

  record {
    object            = "Individual"
    external_id_field = "CPM_Id__c"
    external_id       = citizen.id
    create            = true

    fields = {
      LastName             = coalesce(citizen.external_ref, citizen.id) # Salesforce needs one
      HasOptedOutSolicit   = !permission.newsletter_email.allowed && !permission.newsletter_phone.allowed
      HasOptedOutProfiling = !permission.profiling.allowed
    }
  }
}

# One consent record for each channel that the person has decided about. It looks its person up, so
# it is retried until the individual is there.
rule "consent" {
  source = source.dataguard
  target = target.crm

  for_each = {
    for channel, p in { Email = permission.newsletter_email, Phone = permission.newsletter_phone } :
    channel => p if p.known
  }

  record {
    object            = "ContactPointTypeConsent"
    external_id_field = "CPM_Id__c"
    external_id       = "${citizen.id}-${each.key}"
    create            = true # a refusal is evidence too

    fields = {
      Name                    = "Newsletter by ${lower(each.key)}"
      Party                   = { attributes = { type = "Individual" }, CPM_Id__c = citizen.id }
      ContactPointType        = each.key
      PrivacyConsentStatus    = each.value.allowed ? "OptIn" : "OptOut"
      CaptureDate             = each.value.recorded_at
      CaptureSource           = coalesce(each.value.channel, "DataGuard")
      CaptureContactPointType = "Web"
      EffectiveFrom           = each.value.valid_from
      EffectiveTo             = each.value.valid_until # null clears it
    }
  }
}

# The consent for one very address, where Salesforce keeps addresses as ContactPointEmail with the
# customer number beside each. Without create, nothing is made for a refusal of an address that has no
# consent yet.
rule "address" {
  source = source.dataguard
  target = target.crm
  when   = permission.newsletter_email.known && citizen.external_ref != null

  record {
    object            = "ContactPointConsent"
    external_id_field = "CPM_Id__c"
    external_id       = "${citizen.id}-newsletter"

    fields = {
      Name                    = "Newsletter"
      ContactPoint            = { attributes = { type = "ContactPointEmail" }, Customer_Number__c = citizen.external_ref }
      DataUsePurpose          = { Code__c = "newsletter" }
      PrivacyConsentStatus    = permission.newsletter_email.allowed ? "OptIn" : "OptOut"
      CaptureDate             = permission.newsletter_email.recorded_at
      CaptureSource           = coalesce(permission.newsletter_email.channel, "DataGuard")
      CaptureContactPointType = "Web"
      EffectiveFrom           = permission.newsletter_email.valid_from
      EffectiveTo             = permission.newsletter_email.valid_until
    }
  }
}
