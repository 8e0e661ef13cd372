# What the rule makes of what citizens do: consentd test --config config.hcl

env = { CPM_KEY = "try-me", HUBSPOT_ACCESS_TOKEN = "pat-try-me" }

citizen {
  id           = "c-1843"
  external_ref = "grace@example.org"
}

test "a grant subscribes" {
  update {
    permission "newsletter_email" {
      state = "GRANTED"
    }
    preference "interests" {
      choices = ["interests_jazz", "interests_blues"]
    }
  }

  expect "newsletter" {
    records = [{
      email                   = "grace@example.org"
      subscriptions           = { "39644612" = true }
      legal_basis             = "CONSENT_WITH_NOTICE"
      legal_basis_explanation = "Recorded by DataGuard CPM"
      properties              = { cpm_interests = "interests_jazz;interests_blues" }
    }]
  }
}

test "a withdrawal unsubscribes" {
  update {
    permission "newsletter_email" {
      state = "GRANTED"
    }
  }
  update {
    permission "newsletter_email" {
      state = "DENIED"
    }
  }

  expect {
    withdrawal = true
  }
  expect "newsletter" {
    records = [{
      email                   = "grace@example.org"
      subscriptions           = { "39644612" = false }
      legal_basis             = "CONSENT_WITH_NOTICE"
      legal_basis_explanation = "Recorded by DataGuard CPM"
      properties              = {} # the contact keeps what HubSpot holds
    }]
  }
}

test "pending is not allowed" {
  update {
    permission "newsletter_email" {
      state = "PENDING"
    }
  }

  expect "newsletter" {
    records = [{
      email                   = "grace@example.org"
      subscriptions           = { "39644612" = false }
      legal_basis             = "CONSENT_WITH_NOTICE"
      legal_basis_explanation = "Recorded by DataGuard CPM"
      properties              = {}
    }]
  }
}

test "when the window ends, the permission does" {
  update {
    at = "2026-03-02T09:00:00Z"

    permission "newsletter_email" {
      state       = "GRANTED"
      valid_until = "2028-03-02T09:00:00Z"
    }

    expect "newsletter" {
      now = "2028-03-02T08:59:59Z"
      records = [{
        email                   = "grace@example.org"
        subscriptions           = { "39644612" = true }
        legal_basis             = "CONSENT_WITH_NOTICE"
        legal_basis_explanation = "Recorded by DataGuard CPM"
        properties              = {}
      }]
    }
  }

  now = "2028-03-02T09:00:00Z"

  expect "newsletter" {
    records = [{
      email                   = "grace@example.org"
      subscriptions           = { "39644612" = false }
      legal_basis             = "CONSENT_WITH_NOTICE"
      legal_basis_explanation = "Recorded by DataGuard CPM"
      properties              = {}
    }]
  }
}

test "interests that are all taken back clear the property" {
  update {
    permission "newsletter_email" {
      state = "GRANTED"
    }
    preference "interests" {
      choices = ["interests_jazz"]
    }
  }
  update {
    permission "newsletter_email" {
      state = "GRANTED"
    }
    preference "interests" {
      choices = []
    }
  }

  expect "newsletter" {
    records = [{
      email                   = "grace@example.org"
      subscriptions           = { "39644612" = true }
      legal_basis             = "CONSENT_WITH_NOTICE"
      legal_basis_explanation = "Recorded by DataGuard CPM"
      properties              = { cpm_interests = "" }
    }]
  }
}
