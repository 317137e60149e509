//! The addresses of the names in URLs, asked for with patience and told in the log.

use address::Resolver;

/// The system's resolver.
pub(super) fn resolver() -> Resolver<'static> {
    Resolver::system(&|url, error| {
        tracing::warn!(
            url = %url,
            host = url.host(),
            "retry-interval" = "1s",
            error,
            "failed to resolve URL Host"
        );
    })
}
