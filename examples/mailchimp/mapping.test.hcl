# What the rule makes of what citizens do: consentd test --config config.hcl

env = { CPM_KEY = "try-me", MAILCHIMP_API_KEY = "key-us21" }

citizen {
  id           = "c-1843"
  external_ref = "grace@example.org"
}

test "a grant subscribes, with proof and groups" {
  update {
    at = "2026-03-02T09:00:01Z"

    permission "newsletter_email" {
      state       = "GRANTED"
      obtained_at = "2026-03-02T09:00:00Z"
    }
    preference "interests" {
      choices = ["interests_jazz"]
    }
  }

  expect "newsletter" {
    records = [{
      email                 = "grace@example.org"
      status                = "subscribed"
      timestamp_opt         = "2026-03-02T09:00:00Z"
      interests             = { "9143cf3bd1" = true, "3a2a927344" = false }
      marketing_permissions = { "caa8dcb11e" = true }
      tags                  = { cpm = true }
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
      email                 = "grace@example.org"
      status                = "unsubscribed"
      timestamp_opt         = null
      interests             = {} # the groups stay as they are
      marketing_permissions = { "caa8dcb11e" = false }
      tags                  = { cpm = false }
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
      email                 = "grace@example.org"
      status                = "unsubscribed"
      timestamp_opt         = null
      interests             = {}
      marketing_permissions = { "caa8dcb11e" = false }
      tags                  = { cpm = false }
    }]
  }
}

test "when the window ends, the permission does" {
  update {
    at = "2026-03-02T09:00:00Z"

    permission "newsletter_email" {
      state       = "GRANTED"
      obtained_at = "2026-03-02T09:00:00Z"
      valid_until = "2028-03-02T09:00:00Z"
    }

    expect "newsletter" {
      now = "2028-03-02T08:59:59Z"
      records = [{
        email                 = "grace@example.org"
        status                = "subscribed"
        timestamp_opt         = "2026-03-02T09:00:00Z"
        interests             = {}
        marketing_permissions = { "caa8dcb11e" = true }
        tags                  = { cpm = true }
      }]
    }
  }

  now = "2028-03-02T09:00:00Z"

  expect "newsletter" {
    records = [{
      email                 = "grace@example.org"
      status                = "unsubscribed"
      timestamp_opt         = "2026-03-02T09:00:00Z"
      interests             = {}
      marketing_permissions = { "caa8dcb11e" = false }
      tags                  = { cpm = false }
    }]
  }
}

test "a choice that is taken back leaves its group" {
  update {
    permission "newsletter_email" {
      state = "GRANTED"
    }
    preference "interests" {
      choices = ["interests_jazz", "interests_blues"]
    }
  }
  update {
    permission "newsletter_email" {
      state = "GRANTED"
    }
    preference "interests" {
      choices = ["interests_blues"]
    }
  }

  expect "newsletter" {
    records = [{
      email                 = "grace@example.org"
      status                = "subscribed"
      timestamp_opt         = null
      interests             = { "9143cf3bd1" = false, "3a2a927344" = true }
      marketing_permissions = { "caa8dcb11e" = true }
      tags                  = { cpm = true }
    }]
  }
}

test "who was never asked is not spoken of" {
  update {
    preference "interests" {
      choices = ["interests_jazz"]
    }
  }

  expect "newsletter" {
    records = []
  }
}
