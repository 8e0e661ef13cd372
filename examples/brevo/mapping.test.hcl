# What the rule makes of what citizens do: consentd test --config config.hcl

env = { CPM_KEY = "try-me", BREVO_API_KEY = "xkeysib-try-me" }

citizen {
  id           = "c-1843"
  external_ref = "grace@example.org"
}

test "a grant lets campaigns through, and puts the contact on lists" {
  update {
    permission "newsletter_email" {
      state = "GRANTED"
    }
    preference "interests" {
      choices = ["interests_jazz"]
    }
  }

  expect "newsletter" {
    records = [{
      email             = "grace@example.org"
      ext_id            = "c-1843"
      email_blacklisted = false
      lists             = { "36" = true, "37" = false }
      attributes        = { CPM_ID = "c-1843" }
    }]
  }
}

test "a withdrawal blocks campaigns" {
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
      email             = "grace@example.org"
      ext_id            = "c-1843"
      email_blacklisted = true
      lists             = {} # the lists stay as they are
      attributes        = { CPM_ID = "c-1843" }
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
      email             = "grace@example.org"
      ext_id            = "c-1843"
      email_blacklisted = true
      lists             = {}
      attributes        = { CPM_ID = "c-1843" }
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
        email             = "grace@example.org"
        ext_id            = "c-1843"
        email_blacklisted = false
        lists             = {}
        attributes        = { CPM_ID = "c-1843" }
      }]
    }
  }

  now = "2028-03-02T09:00:00Z"

  expect "newsletter" {
    records = [{
      email             = "grace@example.org"
      ext_id            = "c-1843"
      email_blacklisted = true
      lists             = {}
      attributes        = { CPM_ID = "c-1843" }
    }]
  }
}

test "a choice that is taken back leaves its list" {
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
      email             = "grace@example.org"
      ext_id            = "c-1843"
      email_blacklisted = false
      lists             = { "36" = false, "37" = true }
      attributes        = { CPM_ID = "c-1843" }
    }]
  }
}
