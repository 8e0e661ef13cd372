# What the rules make of what citizens do: consentd test --config config.hcl

env = {
  CPM_KEY                 = "try-me"
  DATAVERSE_URL           = "https://acme.crm4.dynamics.com"
  DATAVERSE_TENANT_ID     = "try-me"
  DATAVERSE_CLIENT_ID     = "try-me"
  DATAVERSE_CLIENT_SECRET = "try-me"
}

citizen {
  id           = "c-1843"
  external_ref = "grace@example.org"
}

test "a grant of both clears the do-not columns and opts in" {
  update {
    permission "newsletter_email" {
      state = "GRANTED"
    }
    permission "newsletter_phone" {
      state = "GRANTED"
    }
  }

  expect "contact" {
    records = [{
      table   = "contacts"
      key     = { acme_customernumber = "grace@example.org" }
      create  = false
      columns = { donotbulkemail = false, donotphone = false, preferredcontactmethodcode = 1 }
    }]
  }
  expect "purpose" {
    records = [{
      consent = {
        contact_point = "grace@example.org"
        channel       = "email"
        purpose       = "10000000-0000-0000-0000-000000000003"
        status        = "opted_in"
      }
    }]
  }
  expect "topics" {
    records = [] # nothing is known of interests
  }
}

test "a withdrawal opts out, of every topic too" {
  update {
    permission "newsletter_email" {
      state = "GRANTED"
    }
    preference "interests" {
      choices = ["jazz", "blues"]
    }
  }
  update {
    permission "newsletter_email" {
      state = "DENIED"
    }
    permission "newsletter_phone" {
      state = "DENIED"
    }
    preference "interests" {
      choices = ["jazz", "blues"]
    }
  }

  expect {
    withdrawal = true
  }
  expect "contact" {
    records = [{
      table   = "contacts"
      key     = { acme_customernumber = "grace@example.org" }
      create  = false
      columns = { donotbulkemail = true, donotphone = true, preferredcontactmethodcode = 2 }
    }]
  }
  expect "purpose" {
    records = [{
      consent = {
        contact_point = "grace@example.org"
        channel       = "email"
        purpose       = "10000000-0000-0000-0000-000000000003"
        status        = "opted_out"
      }
    }]
  }
  expect "topics" {
    records = [
      for topic in ["7d1a44b7-5a0e-4f3c-9a52-6f1d2c3b4a52", "7d1a44b7-5a0e-4f3c-9a52-6f1d2c3b4a51"] : {
        consent = {
          contact_point = "grace@example.org"
          channel       = "email"
          purpose       = "10000000-0000-0000-0000-000000000003"
          topic         = topic
          status        = "opted_out"
        }
      }
    ]
  }
}

test "refused by phone, which nobody asked about mail" {
  update {
    permission "newsletter_phone" {
      state = "DENIED"
    }
  }

  expect "contact" {
    records = [{
      table   = "contacts"
      key     = { acme_customernumber = "grace@example.org" }
      create  = false
      columns = { donotbulkemail = true, donotphone = true, preferredcontactmethodcode = 2 }
    }]
  }
  expect "purpose" {
    records = [] # it is about mail alone
  }
}

test "a grant by phone alone allows calls and no mail" {
  update {
    permission "newsletter_phone" {
      state = "GRANTED"
    }
  }

  expect "contact" {
    records = [{
      table   = "contacts"
      key     = { acme_customernumber = "grace@example.org" }
      create  = false
      columns = { donotbulkemail = true, donotphone = false, preferredcontactmethodcode = 1 }
    }]
  }
}

test "pending is not allowed" {
  update {
    permission "newsletter_email" {
      state = "PENDING"
    }
  }

  expect "contact" {
    records = [{
      table   = "contacts"
      key     = { acme_customernumber = "grace@example.org" }
      create  = false
      columns = { donotbulkemail = true, donotphone = true, preferredcontactmethodcode = 2 }
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

    expect "purpose" {
      now = "2028-03-02T08:59:59Z"
      records = [{
        consent = {
          contact_point = "grace@example.org"
          channel       = "email"
          purpose       = "10000000-0000-0000-0000-000000000003"
          status        = "opted_in"
        }
      }]
    }
  }

  now = "2028-03-02T09:00:00Z"

  expect "purpose" {
    records = [{
      consent = {
        contact_point = "grace@example.org"
        channel       = "email"
        purpose       = "10000000-0000-0000-0000-000000000003"
        status        = "opted_out"
      }
    }]
  }
}

test "a choice that is taken back opts out of its topic" {
  update {
    permission "newsletter_email" {
      state = "GRANTED"
    }
    preference "interests" {
      choices = ["jazz", "blues"]
    }
  }
  update {
    permission "newsletter_email" {
      state = "GRANTED"
    }
    preference "interests" {
      choices = ["blues"]
    }
  }

  expect "topics" {
    records = [
      {
        consent = {
          contact_point = "grace@example.org"
          channel       = "email"
          purpose       = "10000000-0000-0000-0000-000000000003"
          topic         = "7d1a44b7-5a0e-4f3c-9a52-6f1d2c3b4a52"
          status        = "opted_in"
        }
      },
      {
        consent = {
          contact_point = "grace@example.org"
          channel       = "email"
          purpose       = "10000000-0000-0000-0000-000000000003"
          topic         = "7d1a44b7-5a0e-4f3c-9a52-6f1d2c3b4a51"
          status        = "opted_out"
        }
      },
    ]
  }
}

test "who has no address has no consent, and who has no number no contact" {
  citizen {
    id = "c-1843"
  }
  update {
    permission "newsletter_email" {
      state = "GRANTED"
    }
    preference "interests" {
      choices = ["jazz"]
    }
  }

  expect {
    target  = target.crm
    records = []
  }
}
