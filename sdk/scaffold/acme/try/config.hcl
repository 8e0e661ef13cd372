# A daemon to try the plugin in. It believes whoever can reach it, so it is not for production.
plugin_dir = "plugins.d"

store "sqlite" {
  path = "consentd.db"
}

source "dataguard" {
  path        = "/webhooks/dataguard"
  update_type = "effective-permission"

  auth "none" {}
}

option "newsletter_email" {
  id = "k3Rmx"
}

# What goes into config, and into a rule's record, is what plugin() in target.go says.
target "acme" "acme" {
  config {
    base_url = env("ACME_URL", "http://127.0.0.1:8486")
    token    = env("ACME_TOKEN", "fake-token")
  }
}

rule "newsletter" {
  source = source.dataguard
  target = target.acme
  when   = permission.newsletter_email.known

  record {
    email      = citizen.external_ref
    newsletter = permission.newsletter_email.allowed
  }
}
