# Newsletter consent from DataGuard CPM to an HTTP API, by a plugin that is written in Python.
#
#   CPM_KEY          what the sender puts into X-API-Key
#   CONTACTS_TOKEN   the API's bearer token

listener {
  address = "127.0.0.1:8484"
}

admin {
  address = "127.0.0.1:8485"
}

store "sqlite" {
  path = "consentd.db"
}

plugin_dir = "plugins.d"

plugin "contacts" {
  # What `consentd plugin sum plugins.d/consentd-plugin-contacts` prints.
  sha256 = ["0000000000000000000000000000000000000000000000000000000000000000"]
  memory = "256MiB" # idle it takes about 40 MiB
}

source "dataguard" {
  path        = "/webhooks/dataguard"
  update_type = "effective-permission"

  auth "api_key" {
    header = "X-API-Key"
    keys   = [env("CPM_KEY")]
  }
}

option "newsletter_email" {
  id            = "k3Rmx"
  type          = "option"
  justification = "consent"
}

target "contacts" "crm" {
  timeout = "30s"
  erase   = true

  config {
    url   = "http://127.0.0.1:8080/v1"
    token = env("CONTACTS_TOKEN")
  }
}

rule "crm" {
  source = source.dataguard
  target = target.crm
  when   = permission.newsletter_email.known

  record {
    id         = citizen.id
    email      = citizen.external_ref
    subscribed = permission.newsletter_email.allowed

    attributes = {
      channel = permission.newsletter_email.channel
    }
  }
}
