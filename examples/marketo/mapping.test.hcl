# What the rule makes of what citizens do: consentd test --config config.hcl

env = { CPM_KEY = "try-me", MARKETO_CLIENT_ID = "try-me", MARKETO_CLIENT_SECRET = "try-me" }

citizen {
  id           = "c-1843"
  external_ref = "grace@example.org"
}

test "a grant of both clears both opt-outs" {
  update {
    permission "newsletter_email" {
      state = "GRANTED"
    }
    permission "calls" {
      state = "GRANTED"
    }
    preference "interests" {
      choices = ["interests_jazz", "interests_blues"]
    }
  }

  expect "leads" {
    records = [{
      lookup_value = "grace@example.org"
      fields = {
        unsubscribed       = false
        unsubscribedReason = null # cleared
        doNotCall          = false
        interests          = "interests_jazz;interests_blues"
      }
      lists = { "1021" = true }
    }]
  }
}

test "a withdrawal of mail leaves calls" {
  update {
    permission "newsletter_email" {
      state = "GRANTED"
    }
    permission "calls" {
      state = "GRANTED"
    }
  }
  update {
    permission "newsletter_email" {
      state = "DENIED"
    }
    permission "calls" {
      state = "GRANTED"
    }
  }

  expect {
    withdrawal = true
  }
  expect "leads" {
    records = [{
      lookup_value = "grace@example.org"
      fields       = { unsubscribed = true, unsubscribedReason = "DataGuard CPM", doNotCall = false }
      lists        = { "1021" = false }
    }]
  }
}

test "pending and never asked are not allowed" {
  update {
    permission "newsletter_email" {
      state = "PENDING"
    }
  }

  expect "leads" {
    records = [{
      lookup_value = "grace@example.org"
      fields       = { unsubscribed = true, unsubscribedReason = "DataGuard CPM", doNotCall = true }
      lists        = { "1021" = false }
    }]
  }
}

test "when the window ends, the permission does" {
  update {
    at = "2026-03-02T09:00:00Z"

    permission "newsletter_email" {
      state = "GRANTED"
    }
    permission "calls" {
      state       = "GRANTED"
      valid_until = "2028-03-02T09:00:00Z"
    }

    expect "leads" {
      now = "2028-03-02T08:59:59Z"
      records = [{
        lookup_value = "grace@example.org"
        fields       = { unsubscribed = false, unsubscribedReason = null, doNotCall = false }
        lists        = { "1021" = true }
      }]
    }
  }

  now = "2028-03-02T09:00:00Z"

  expect "leads" {
    records = [{
      lookup_value = "grace@example.org"
      fields       = { unsubscribed = false, unsubscribedReason = null, doNotCall = true }
      lists        = { "1021" = true }
    }]
  }
}

test "a refusal of calls, and interests that are taken back" {
  update {
    permission "calls" {
      state = "DENIED"
    }
    preference "interests" {
      choices = ["interests_jazz"]
    }
  }
  update {
    permission "calls" {
      state = "DENIED"
    }
    preference "interests" {
      choices = []
    }
  }

  expect "leads" {
    records = [{
      lookup_value = "grace@example.org"
      fields       = { unsubscribed = true, unsubscribedReason = "DataGuard CPM", doNotCall = true, interests = "" }
      lists        = { "1021" = false }
    }]
  }
}
