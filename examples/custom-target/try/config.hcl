# A daemon to try the plugin in. It believes whoever can reach it, so it is not for production.
plugin_dir = "plugins.d"

plugin "maildb" {
  sha256 = [env("MAILDB_SHA256")] # or the sum itself, as consentd plugin sum prints it
  write  = ["data"]               # all of the file system that it may write
}

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

target "maildb" "mailer" {
  erase = true

  config {
    path = "try/data/mail.db" # from the folder in which consentd was started
  }
}

rule "newsletter" {
  source = source.dataguard
  target = target.mailer
  when   = permission.newsletter_email.known

  record {
    email = citizen.external_ref
    lists = {
      newsletter = permission.newsletter_email.allowed
    }
  }
}
