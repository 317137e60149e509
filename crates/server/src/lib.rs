//! Everything around a replica: bootstrap, driver threads, timers, handlers, health, metrics.
