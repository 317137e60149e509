//! The token that says who a client is.

use crate::config::Credentials;
use crate::error::Error;
use crate::secret::Secret;
use proto::etcdserverpb::{AuthenticateRequest, AuthenticateResponse};
use std::sync::{Mutex, PoisonError};

const NOT_ENABLED: &str = "etcdserver: authentication is not enabled";

/// A client's credentials and the token that they were last exchanged for.
pub(crate) struct Token {
    credentials: Option<Credentials>,
    state: Mutex<State>,
    /// Held while a token is asked for, so that many calls do not ask for many.
    asking: tokio::sync::Mutex<()>,
}

struct State {
    what: What,
    /// Counts the answers.
    version: u64,
}

enum What {
    /// Not asked for yet.
    Missing,
    /// The cluster asks nobody.
    Needless,
    Is(Secret),
}

/// A token as a call uses it.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) token: Option<Secret>,
    version: u64,
}

impl Shown {
    /// None, as before the first one is got.
    pub(crate) fn none() -> Shown {
        Shown { token: None, version: 0 }
    }
}

impl Token {
    pub(crate) fn new(credentials: Option<Credentials>) -> Token {
        let what = match &credentials {
            None => What::Needless,
            Some(Credentials::Token(token)) => What::Is(token.clone()),
            Some(Credentials::Password { .. }) => What::Missing,
        };
        let state = Mutex::new(State { what, version: 0 });
        Token { credentials, state, asking: tokio::sync::Mutex::new(()) }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // Only whole values are stored, so a poisoned lock guards a whole value too.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn current(&self) -> Shown {
        let state = self.state();
        let token = match &state.what {
            What::Is(token) => Some(token.clone()),
            What::Missing | What::Needless => None,
        };
        Shown { token, version: state.version }
    }

    pub(crate) fn is_missing(&self) -> bool {
        matches!(self.state().what, What::Missing)
    }

    pub(crate) fn can_renew(&self) -> bool {
        matches!(self.credentials, Some(Credentials::Password { .. }))
    }

    /// Gets a token in place of the one that was shown, by asking so; unless another call did it
    /// meanwhile.
    pub(crate) async fn renew<F: Future<Output = Result<AuthenticateResponse, Error>>>(
        &self,
        shown: &Shown,
        ask: impl FnOnce(AuthenticateRequest) -> F,
    ) -> Result<(), Error> {
        let Some(Credentials::Password { name, password }) = &self.credentials else {
            return Ok(());
        };
        let _asking = self.asking.lock().await;
        if self.state().version != shown.version {
            return Ok(());
        }
        let (name, password) = (name.clone(), password.expose().to_owned());
        let what = match ask(AuthenticateRequest { name, password }).await {
            Ok(answer) => What::Is(answer.token.into()),
            Err(error) if error.message() == NOT_ENABLED => What::Needless,
            Err(error) => return Err(error),
        };
        let mut state = self.state();
        state.what = what;
        state.version += 1;
        Ok(())
    }
}
