# What `consentd run --dev` runs: one source, three simulated vendors, one rule for each of them.

log {
  level  = "warn"
  format = "text"
}

listener {
  address = env("CONSENTD_DEV_LISTENER")
}

admin {
  address = env("CONSENTD_DEV_ADMIN")
}

store "sqlite" {
  path = env("CONSENTD_DEV_STORE")
}

source "dataguard" {
  path        = "/webhooks/dataguard"
  update_type = "effective-permission"

  application_id = "dev"

  api {
    base_url = env("CONSENTD_DEV_CPM")
    api_key  = "simulated-cpm-key"
  }

  auth "api_key" {
    header = "X-API-Key"
    keys   = ["dev"]
  }
}

option "newsletter_email" {
  id            = "k3Rmx"
  type          = "option"
  justification = "consent"
}

preference "interests" {
}

target "mailchimp" "newsletter" {
  config {
    api_key  = "simulated-us1"
    list_id  = "a1b2c3d4e5"
    base_url = "${env("CONSENTD_DEV_MAILCHIMP")}/3.0"
  }
}

target "salesforce" "crm" {
  config {
    login_url     = env("CONSENTD_DEV_SALESFORCE")
    client_id     = "simulated-consumer-key"
    client_secret = "simulated-consumer-secret"
  }
}

target "webhook" "warehouse" {
  config {
    url = "${env("CONSENTD_DEV_WEBHOOK")}/consents"
  }
}

rule "newsletter" {
  source = source.dataguard
  target = target.newsletter
  when   = permission.newsletter_email.known

  record {
    email     = citizen.external_ref
    status    = permission.newsletter_email.allowed ? "subscribed" : "unsubscribed"
    interests = { for c in ["jazz", "blues"] : c => contains(preference.interests.choices, c) }

    # Who was unsubscribed here, and opts in later, is subscribed again.
    timestamp_opt = permission.newsletter_email.obtained_at
  }
}

rule "contact" {
  source = source.dataguard
  target = target.crm
  when   = permission.newsletter_email.known

  record {
    object            = "Contact"
    external_id_field = "CPM_Id__c"
    external_id       = citizen.id
    fields = {
      LastName           = citizen.external_ref
      HasOptedOutOfEmail = !permission.newsletter_email.allowed
    }
  }
}

rule "state" {
  source = source.dataguard
  target = target.warehouse

  record {
    key = citizen.id
    body = {
      citizen    = citizen.id
      newsletter = permission.newsletter_email.allowed
      interests  = preference.interests.choices
      at         = sent_at
    }
  }
}
