//! Executes one committed entry against keys, leases, members and alarms in one transaction.
