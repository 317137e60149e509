//! Why a connection or a call failed, as far as errors say it.

/// The last cause, which says most.
pub(crate) fn innermost<'a>(mut error: &'a (dyn std::error::Error + 'static)) -> String {
    while let Some(source) = error.source() {
        let source: &'a (dyn std::error::Error + 'static) = source;
        error = source;
    }
    error.to_string()
}
