//! `Debug` of messages that hold passwords or tokens, without these: messages reach logs and panics.

use crate::{authpb, etcdserverpb};
use std::fmt;

/// What stands in place of a secret; nothing does where there is none.
struct Hidden(bool);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0 { "[secret]" } else { "\"\"" })
    }
}

macro_rules! hides {
    ($($message:path { $($shown:ident),* } $name:literal hides { $($hidden:ident),* };)*) => {$(
        impl fmt::Debug for $message {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct($name)
                    $(.field(stringify!($shown), &self.$shown))*
                    $(.field(stringify!($hidden), &Hidden(!self.$hidden.is_empty())))*
                    .finish()
            }
        }
    )*};
}

hides! {
    authpb::User { name, roles, options } "User" hides { password };
    etcdserverpb::AuthUserAddRequest { name, options } "AuthUserAddRequest"
        hides { password, hashed_password };
    etcdserverpb::AuthUserChangePasswordRequest { name } "AuthUserChangePasswordRequest"
        hides { password, hashed_password };
    etcdserverpb::AuthenticateRequest { name } "AuthenticateRequest" hides { password };
    etcdserverpb::AuthenticateResponse { header } "AuthenticateResponse" hides { token };
    etcdserverpb::InternalAuthenticateRequest { name } "InternalAuthenticateRequest"
        hides { password, simple_token };
}
