# What the rules make of what citizens do: consentd test --config config.hcl

env = {
  CPM_KEY                  = "try-me"
  SALESFORCE_LOGIN_URL     = "https://acme.my.salesforce.com"
  SALESFORCE_CLIENT_ID     = "try-me"
  SALESFORCE_CLIENT_SECRET = "try-me"
}

citizen {
  id           = "c-1843"
  external_ref = "4711"
}

# Everything that one update becomes is in a file, which `consentd test --update` writes anew.
test "a grant of everything" {
  update {
    at = "2026-03-02T09:00:01Z"

    permission "newsletter_email" {
      state       = "GRANTED"
      channel     = "web"
      valid_until = "2028-03-02T09:00:00Z"
    }
    permission "newsletter_phone" {
      state = "GRANTED"
    }
    permission "profiling" {
      state         = "CLAIMED"
      justification = "legitimate-interest"
    }
  }

  golden = "grant.records.json"
}

test "a withdrawal of mail sets its opt-out and leaves the phone's" {
  update {
    permission "newsletter_email" {
      state = "GRANTED"
    }
    permission "newsletter_phone" {
      state = "GRANTED"
    }
  }
  update {
    at = "2026-03-09T17:30:00Z"

    permission "newsletter_email" {
      state = "DENIED"
    }
    permission "newsletter_phone" {
      state       = "GRANTED"
      recorded_at = "2026-01-01T12:00:00Z"
    }
    permission "profiling" {
      state         = "OBJECTED"
      justification = "legitimate-interest"
    }
  }

  expect {
    withdrawal = true
  }
  expect "contact" {
    records = [{
      object            = "Contact"
      external_id_field = "Customer_Number__c"
      external_id       = "4711"
      create            = false
      fields            = { HasOptedOutOfEmail = true, DoNotCall = false, Individual = { CPM_Id__c = "c-1843" } }
    }]
  }
  expect "individual" {
    records = [{
      object            = "Individual"
      external_id_field = "CPM_Id__c"
      external_id       = "c-1843"
      create            = true
      fields            = { LastName = "4711", HasOptedOutSolicit = false, HasOptedOutProfiling = true }
    }]
  }
  expect "consent" {
    records = [
      {
        object            = "ContactPointTypeConsent"
        external_id_field = "CPM_Id__c"
        external_id       = "c-1843-Email"
        create            = true
        fields = {
          Name                    = "Newsletter by email"
          Party                   = { attributes = { type = "Individual" }, CPM_Id__c = "c-1843" }
          ContactPointType        = "Email"
          PrivacyConsentStatus    = "OptOut"
          CaptureDate             = "2026-03-09T17:30:00Z"
          CaptureSource           = "DataGuard"
          CaptureContactPointType = "Web"
          EffectiveFrom           = null
          EffectiveTo             = null
        }
      },
      {
        object            = "ContactPointTypeConsent"
        external_id_field = "CPM_Id__c"
        external_id       = "c-1843-Phone"
        create            = true
        fields = {
          Name                    = "Newsletter by phone"
          Party                   = { attributes = { type = "Individual" }, CPM_Id__c = "c-1843" }
          ContactPointType        = "Phone"
          PrivacyConsentStatus    = "OptIn"
          CaptureDate             = "2026-01-01T12:00:00Z"
          CaptureSource           = "DataGuard"
          CaptureContactPointType = "Web"
          EffectiveFrom           = null
          EffectiveTo             = null
        }
      },
    ]
  }
  expect "address" {
    records = [{
      object            = "ContactPointConsent"
      external_id_field = "CPM_Id__c"
      external_id       = "c-1843-newsletter"
      fields = {
        Name                    = "Newsletter"
        ContactPoint            = { attributes = { type = "ContactPointEmail" }, Customer_Number__c = "4711" }
        DataUsePurpose          = { Code__c = "newsletter" }
        PrivacyConsentStatus    = "OptOut"
        CaptureDate             = "2026-03-09T17:30:00Z"
        CaptureSource           = "DataGuard"
        CaptureContactPointType = "Web"
        EffectiveFrom           = null
        EffectiveTo             = null
      }
    }]
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
      object            = "Contact"
      external_id_field = "Customer_Number__c"
      external_id       = "4711"
      create            = false
      fields            = { HasOptedOutOfEmail = true, DoNotCall = true, Individual = { CPM_Id__c = "c-1843" } }
    }]
  }
  expect "consent" {
    records = [{
      object            = "ContactPointTypeConsent"
      external_id_field = "CPM_Id__c"
      external_id       = "c-1843-Phone"
      create            = true
      fields = {
        Name                    = "Newsletter by phone"
        Party                   = { attributes = { type = "Individual" }, CPM_Id__c = "c-1843" }
        ContactPointType        = "Phone"
        PrivacyConsentStatus    = "OptOut"
        CaptureDate             = "2026-01-01T12:00:00Z"
        CaptureSource           = "DataGuard"
        CaptureContactPointType = "Web"
        EffectiveFrom           = null
        EffectiveTo             = null
      }
    }]
  }
}

test "pending is not allowed" {
  update {
    permission "newsletter_email" {
      state = "PENDING"
    }
    permission "newsletter_phone" {
      state = "PENDING"
    }
  }

  expect "contact" {
    records = [{
      object            = "Contact"
      external_id_field = "Customer_Number__c"
      external_id       = "4711"
      create            = false
      fields            = { HasOptedOutOfEmail = true, DoNotCall = true, Individual = { CPM_Id__c = "c-1843" } }
    }]
  }
  expect "individual" {
    records = [{
      object            = "Individual"
      external_id_field = "CPM_Id__c"
      external_id       = "c-1843"
      create            = true
      fields            = { LastName = "4711", HasOptedOutSolicit = true, HasOptedOutProfiling = true }
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

    expect "contact" {
      now = "2028-03-02T08:59:59Z"
      records = [{
        object            = "Contact"
        external_id_field = "Customer_Number__c"
        external_id       = "4711"
        create            = false
        fields            = { HasOptedOutOfEmail = false, DoNotCall = true, Individual = { CPM_Id__c = "c-1843" } }
      }]
    }
  }

  now = "2028-03-02T09:00:00Z"

  expect "contact" {
    records = [{
      object            = "Contact"
      external_id_field = "Customer_Number__c"
      external_id       = "4711"
      create            = false
      fields            = { HasOptedOutOfEmail = true, DoNotCall = true, Individual = { CPM_Id__c = "c-1843" } }
    }]
  }
}
