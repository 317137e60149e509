//! The token that says who a client is.

use crate::config::Credentials;
use crate::error::Error;
use proto::etcdserverpb::{AuthenticateRequest, AuthenticateResponse};
use std::sync::{Mutex, PoisonError};

const NOT_ENABLED: &str = "etcdserver: authentication is not enabled";

/// A client's credentials and the token that they were last exchanged for.
pub(crate) struct Token {
    credentials: Option<Credentials>,
    state: Mutex<State>,
}

enum State {
    /// Not asked for yet.
    Missing,
    /// The cluster asks nobody.
    Needless,
    Is(String),
}

impl Token {
    pub(crate) fn new(credentials: Option<Credentials>) -> Token {
        let state = match &credentials {
            None => State::Needless,
            Some(Credentials::Token(token)) => State::Is(token.clone()),
            Some(Credentials::Password { .. }) => State::Missing,
        };
        Token { credentials, state: Mutex::new(state) }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // Only whole values are stored, so a poisoned lock guards a whole value too.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn current(&self) -> Option<String> {
        match &*self.state() {
            State::Is(token) => Some(token.clone()),
            State::Missing | State::Needless => None,
        }
    }

    pub(crate) fn is_missing(&self) -> bool {
        matches!(*self.state(), State::Missing)
    }

    pub(crate) fn can_renew(&self) -> bool {
        matches!(self.credentials, Some(Credentials::Password { .. }))
    }

    /// What asks for a new token.
    pub(crate) fn request(&self) -> Option<AuthenticateRequest> {
        match &self.credentials {
            Some(Credentials::Password { name, password }) => {
                Some(AuthenticateRequest { name: name.clone(), password: password.clone() })
            }
            _ => None,
        }
    }

    /// Keeps the answer to [`Token::request`].
    pub(crate) fn renewed(&self, answer: Result<AuthenticateResponse, Error>) -> Result<(), Error> {
        let state = match answer {
            Ok(answer) => State::Is(answer.token),
            Err(error) if error.message() == NOT_ENABLED => State::Needless,
            Err(error) => return Err(error),
        };
        *self.state() = state;
        Ok(())
    }
}
