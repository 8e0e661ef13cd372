# What the rules make of what citizens do: consentd test --config config.hcl

env = { CPM_KEY = "try-me", BRAZE_API_KEY = "try-me" }

citizen {
  id           = "c-1843"
  external_ref = "grace@example.org"
}

test "a grant opts in" {
  update {
    permission "newsletter_email" {
      state = "GRANTED"
    }
    permission "app_push" {
      state = "GRANTED"
    }
    preference "interests" {
      choices = ["interests_jazz"]
    }
  }

  expect "crm" {
    records = [{
      external_id     = "c-1843"
      email           = "grace@example.org"
      email_subscribe = "opted_in"
      attributes      = { cpm_newsletter = true }
    }]
  }
  expect "push" {
    records = [{ external_id = "c-1843", push_subscribe = "opted_in" }]
  }
  expect "preferences" {
    records = [{
      external_id = "c-1843"
      subscription_groups = {
        "504e09e6-ffa4-4b31-96c3-c05d50d903cf" = true
        "0e7a1c58-6a0b-4a6e-8a35-0d8f2b7b1c11" = false
      }
    }]
  }
}

test "a withdrawal leaves every group, also when the update has no preference" {
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
      state = "DENIED"
    }
  }

  expect {
    withdrawal = true
  }
  expect "crm" {
    records = [{
      external_id     = "c-1843"
      email           = "grace@example.org"
      email_subscribe = "unsubscribed"
      attributes      = { cpm_newsletter = false }
    }]
  }
  expect "push" {
    records = [] # they were never asked
  }
  expect "preferences" {
    records = [{
      external_id = "c-1843"
      subscription_groups = {
        "504e09e6-ffa4-4b31-96c3-c05d50d903cf" = false
        "0e7a1c58-6a0b-4a6e-8a35-0d8f2b7b1c11" = false
      }
    }]
  }
}

test "pending is not allowed" {
  update {
    permission "newsletter_email" {
      state = "PENDING"
    }
    permission "app_push" {
      state = "PENDING"
    }
  }

  expect {
    target = target.crm
    records = [
      {
        external_id     = "c-1843"
        email           = "grace@example.org"
        email_subscribe = "unsubscribed"
        attributes      = { cpm_newsletter = false }
      },
      { external_id = "c-1843", push_subscribe = "unsubscribed" },
    ]
  }
}

test "when the window ends, the permission does" {
  update {
    at = "2026-03-02T09:00:00Z"

    permission "app_push" {
      state       = "GRANTED"
      valid_until = "2028-03-02T09:00:00Z"
    }

    expect "push" {
      now     = "2028-03-02T08:59:59Z"
      records = [{ external_id = "c-1843", push_subscribe = "opted_in" }]
    }
  }

  now = "2028-03-02T09:00:00Z"

  expect "push" {
    records = [{ external_id = "c-1843", push_subscribe = "unsubscribed" }]
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

  expect "preferences" {
    records = [{
      external_id = "c-1843"
      subscription_groups = {
        "504e09e6-ffa4-4b31-96c3-c05d50d903cf" = false
        "0e7a1c58-6a0b-4a6e-8a35-0d8f2b7b1c11" = true
      }
    }]
  }
}
