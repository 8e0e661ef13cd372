# /etc/consentd/consentd.hcl of the container

listener {
  address = ":8484"
}

store "sqlite" {
  path = "/var/lib/consentd/consentd.db"
}

encryption {
  keys = [file("/run/secrets/store_key")]
}

source "dataguard" {
  path        = "/webhooks/dataguard"
  update_type = "effective-permission"

  auth "api_key" {
    header = "X-API-Key"
    keys   = [file("/run/secrets/cpm_key")]
  }
}

option "newsletter_email" {
  id            = "k3Rmx"
  type          = "option"
  justification = "consent"
}

# The application beside which it runs.
target "webhook" "app" {
  config {
    url = "http://127.0.0.1:8080/consent"
  }
}

rule "app" {
  source = source.dataguard
  target = target.app
  when   = permission.newsletter_email.known

  record {
    key = citizen.id
    body = {
      citizen    = citizen.id
      newsletter = permission.newsletter_email.allowed
    }
  }
}
