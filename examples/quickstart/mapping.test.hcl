# What the rule makes of what citizens do: consentd test --config config.hcl

env = { CPM_KEY = "try-me" } # for all tests, so that they run wherever the variable is not set

citizen {
  id           = "c-1815"
  external_ref = "ada@example.org"
}

test "a sign-up goes to the file" {
  update {
    file = "signup.json"
  }

  expect "newsletter" {
    records = [{
      key = "c-1815"
      fields = {
        person     = "ada@example.org"
        newsletter = true
        interests  = ["mathematics", "engines"]
      }
    }]
  }
}

test "a withdrawal goes too, and the sign-up that comes late does not undo it" {
  update {
    file = "signup.json"
  }
  update {
    file = "withdrawal.json"

    expect {
      outcome    = "accepted"
      withdrawal = true
    }
  }
  update {
    file = "signup.json"
  }

  expect {
    outcome = "superseded"
  }
  expect "newsletter" {
    records = [{
      key = "c-1815"
      fields = {
        person     = "ada@example.org"
        newsletter = false
        interests  = ["mathematics", "engines"]
      }
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
    records = [{ key = "c-1815", fields = { person = "ada@example.org", newsletter = false, interests = [] } }]
  }
}

test "when the window ends, the permission does" {
  update {
    at = "2026-03-02T09:00:00Z"

    permission "newsletter_email" {
      state       = "GRANTED"
      valid_until = "2027-03-02T09:00:00Z"
    }

    expect "newsletter" {
      now     = "2027-03-02T08:59:59Z"
      records = [{ key = "c-1815", fields = { person = "ada@example.org", newsletter = true, interests = [] } }]
    }
  }

  now = "2027-03-02T09:00:00Z"

  expect "newsletter" {
    records = [{ key = "c-1815", fields = { person = "ada@example.org", newsletter = false, interests = [] } }]
  }
}

test "a preference that is taken back is empty" {
  update {
    permission "newsletter_email" {
      state = "GRANTED"
    }
    preference "interests" {
      choices = ["engines"]
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
    records = [{ key = "c-1815", fields = { person = "ada@example.org", newsletter = true, interests = [] } }]
  }
}

test "who was never asked is not spoken of" {
  update {
    preference "interests" {
      choices = ["engines"]
    }
  }

  expect "newsletter" {
    records = []
  }
}
