//! Checks of the house itself and of whole members.
