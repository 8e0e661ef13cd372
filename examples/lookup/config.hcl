# Updates that hold no e-mail address: it is looked up in a CSV file that another system writes.
#
#   CPM_KEY   what the sender puts into X-API-Key

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

lookup "csv" "crm" {
  path     = "people.csv"
  key      = "id"                 # the column that names a person ...
  match    = citizen.external_ref # ... and what stands there
  fields   = { email = "mail", language = "lang" }
  optional = ["language"] # who has none is found all the same
}

target "file" "log" {
  config {
    path = "arrivals.jsonl"
  }
}

rule "newsletter" {
  source = source.dataguard
  target = target.log
  when   = permission.newsletter_email.known

  record {
    key = lookup.crm.email
    fields = {
      newsletter = permission.newsletter_email.allowed
      language   = lookup.crm.language
    }
  }
}
