//! The version that all members understand: decided by the leader from what each member says.

use crate::rpc::Error;

/// A version without its patch, as numbers.
pub(crate) fn minor_of(version: &str) -> Option<(u64, u64)> {
    let mut parts = version.split('.').map(str::parse::<u64>);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

fn parse(version: &str) -> Option<(u64, u64)> {
    let parts = version.split('.').count();
    minor_of(version).filter(|_| parts == 2 || parts == 3)
}

/// Whether a text has the form of a version.
pub(crate) fn is_version(text: &str) -> bool {
    parse(text).is_some()
}

/// The version to go down to: the minor before the current one.
///
/// # Errors
/// It is no version, or another one.
pub(crate) fn downgrade_target(version: &str, current: &str) -> Result<String, Error> {
    let (major, minor) = parse(version).ok_or(Error::WrongDowngradeFormat)?;
    match minor_of(current) {
        Some((to, above)) if to == major && minor + 1 == above => Ok(format!("{major}.{minor}.0")),
        _ => Err(Error::InvalidDowngradeTarget),
    }
}

/// The version that the cluster should have: the least that a member has. None where one has not
/// said, or nothing changes.
pub(crate) fn decide(members: &[Option<String>], current: Option<&str>) -> Option<String> {
    let known: Option<Vec<_>> =
        members.iter().map(|version| minor_of(version.as_deref()?)).collect();
    let Some(least) = known.and_then(|all| all.into_iter().min()) else {
        // A cluster without a version gets the oldest one until all have spoken.
        return current.is_none().then(|| "3.0.0".to_owned());
    };
    let is_higher = current.and_then(minor_of).is_none_or(|now| now < least);
    is_higher.then(|| format!("{}.{}.0", least.0, least.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_as_young_as_its_oldest_member() {
        let some = |version: &str| Some(version.to_owned());
        let all = [some("3.7.1"), some("3.6.4")];
        assert_eq!(decide(&all, None), some("3.6.0"));
        assert_eq!(decide(&all, Some("3.6.0")), None);
        assert_eq!(decide(&all[..1], Some("3.6.0")), some("3.7.0"));
        assert_eq!(decide(&[some("3.7.1"), None], None), some("3.0.0"));
        assert_eq!(decide(&[some("3.7.1"), None], Some("3.0.0")), None);
    }

    #[test]
    fn a_downgrade_goes_one_minor_down() {
        assert_eq!(downgrade_target("3.6.0", "3.7.0"), Ok("3.6.0".into()));
        assert_eq!(downgrade_target("3.5.0", "3.7.0"), Err(Error::InvalidDowngradeTarget));
        assert_eq!(downgrade_target("x", "3.7.0"), Err(Error::WrongDowngradeFormat));
    }
}
