# /etc/consentd/consentd.hcl

admin {
  address = "unix:///run/consentd/admin.sock"
}

store "sqlite" {
  path = "/var/lib/consentd/consentd.db"
}

encryption {
  keys = [credential("store_key")]
}

source "dataguard" {
  path        = "/webhooks/dataguard"
  update_type = "effective-permission"

  auth "api_key" {
    header = "X-API-Key"
    keys   = [credential("cpm_key")]
  }
}

option "newsletter_email" {
  id            = "k3Rmx"
  type          = "option"
  justification = "consent"
}

target "webhook" "orders" {
  config {
    url = "https://orders.example.org/consent"

    auth {
      token = credential("orders_token")
    }
  }
}

rule "orders" {
  source = source.dataguard
  target = target.orders
  when   = permission.newsletter_email.known

  record {
    key = citizen.id
    body = {
      citizen    = citizen.id
      newsletter = permission.newsletter_email.allowed
    }
  }
}
