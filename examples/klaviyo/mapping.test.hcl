# What the rule makes of what citizens do: consentd test --config config.hcl

env = { CPM_KEY = "try-me", KLAVIYO_API_KEY = "pk_try-me" }

citizen {
  id           = "c-1843"
  external_ref = "grace@example.org"
}

test "a grant of both channels subscribes to both" {
  update {
    permission "newsletter_email" {
      state = "GRANTED"
    }
    permission "offers_sms" {
      state = "GRANTED"
    }
    preference "interests" {
      choices = ["interests_jazz"]
    }
  }

  expect "consent" {
    records = [{
      email         = "grace@example.org"
      subscriptions = { email_marketing = true, sms_marketing = true }
      properties    = { "CPM interests" = ["interests_jazz"] }
    }]
  }
}

test "a channel of which nothing is known is left alone" {
  update {
    permission "newsletter_email" {
      state = "GRANTED"
    }
  }

  expect "consent" {
    records = [{
      email         = "grace@example.org"
      subscriptions = { email_marketing = true }
      properties    = {}
    }]
  }
}

test "a withdrawal of one channel leaves the other" {
  update {
    permission "newsletter_email" {
      state = "GRANTED"
    }
    permission "offers_sms" {
      state = "GRANTED"
    }
  }
  update {
    permission "newsletter_email" {
      state = "GRANTED"
    }
    permission "offers_sms" {
      state = "DENIED"
    }
  }

  expect {
    withdrawal = true
  }
  expect "consent" {
    records = [{
      email         = "grace@example.org"
      subscriptions = { email_marketing = true, sms_marketing = false }
      properties    = {}
    }]
  }
}

test "pending is not allowed" {
  update {
    permission "newsletter_email" {
      state = "PENDING"
    }
  }

  expect "consent" {
    records = [{
      email         = "grace@example.org"
      subscriptions = { email_marketing = false }
      properties    = {}
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

    expect "consent" {
      now = "2028-03-02T08:59:59Z"
      records = [{
        email         = "grace@example.org"
        subscriptions = { email_marketing = true }
        properties    = {}
      }]
    }
  }

  now = "2028-03-02T09:00:00Z"

  expect "consent" {
    records = [{
      email         = "grace@example.org"
      subscriptions = { email_marketing = false }
      properties    = {}
    }]
  }
}

test "interests that are all taken back are an empty list" {
  update {
    permission "newsletter_email" {
      state = "DENIED"
    }
    preference "interests" {
      choices = ["interests_jazz"]
    }
  }
  update {
    permission "newsletter_email" {
      state = "DENIED"
    }
    preference "interests" {
      choices = []
    }
  }

  expect "consent" {
    records = [{
      email         = "grace@example.org"
      subscriptions = { email_marketing = false }
      properties    = { "CPM interests" = [] }
    }]
  }
}
