# What the rule makes of what citizens do: consentd test --config config.hcl
# No lookup is asked: each test says what it answers.

env = { CPM_KEY = "try-me" }

citizen {
  id           = "c-1815"
  external_ref = "4711"
}

lookup "crm" {
  email    = "ada@example.org"
  language = "en"
}

test "a grant goes to the address that was found" {
  update {
    file = "update.json"
  }

  expect "newsletter" {
    records = [{ key = "ada@example.org", fields = { newsletter = true, language = "en" } }]
  }
}

test "a withdrawal too, and a language that is not known is null" {
  lookup "crm" {
    email = "ada@example.org"
  }
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
    records = [{ key = "ada@example.org", fields = { newsletter = false, language = null } }]
  }
}

test "who is not found waits" {
  lookup "crm" {
  }
  update {
    file = "unknown.json"
  }

  expect "newsletter" {
    waits = true
  }
}

test "pending is not allowed" {
  update {
    permission "newsletter_email" {
      state = "PENDING"
    }
  }

  expect "newsletter" {
    records = [{ key = "ada@example.org", fields = { newsletter = false, language = "en" } }]
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
      now     = "2028-03-02T08:59:59Z"
      records = [{ key = "ada@example.org", fields = { newsletter = true, language = "en" } }]
    }
  }

  now = "2028-03-02T09:00:00Z"

  expect "newsletter" {
    records = [{ key = "ada@example.org", fields = { newsletter = false, language = "en" } }]
  }
}

test "of whom nothing is known nobody is asked" {
  lookup "crm" {
  }
  update {
  }

  expect "newsletter" {
    records = []
  }
}
