# One source, one file that stands for a target, one rule.

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

# The sender's ids are opaque. Here they get names, and rules know only these.
option "newsletter_email" {
  id            = "k3Rmx"
  type          = "option"
  justification = "consent"
}

preference "interests" {
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
    key = citizen.id
    fields = {
      person     = citizen.external_ref
      newsletter = permission.newsletter_email.allowed
      interests  = preference.interests.choices
    }
  }
}
