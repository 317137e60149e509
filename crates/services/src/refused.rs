//! A call that its handler refuses, with the responder that tells the client.

use crate::Error;
use bytes::Bytes;
use net::rpc::Responder;
use prost::Message;

/// A call that is refused before it left the handler, with what to refuse.
pub struct Refused {
    reply: Responder,
    error: Error,
}

impl Refused {
    pub(crate) fn new(reply: Responder, error: Error) -> Refused {
        Refused { reply, error }
    }

    /// Tells the client.
    pub(crate) fn tell(self) {
        self.reply.fail(self.error);
    }
}

/// Decodes a request, or refuses the call.
pub(crate) fn decode<M: Message + Default>(
    body: &Bytes,
    reply: Responder,
) -> Result<(M, Responder), Refused> {
    match M::decode(body.clone()) {
        Ok(message) => Ok((message, reply)),
        Err(_) => Err(Refused::new(reply, Error::MalformedRequest)),
    }
}
