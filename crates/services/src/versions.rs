//! The version that all members understand: decided by the leader from what each member says.

use crate::Error;

/// A version without its patch, as numbers.
pub fn minor_of(version: &str) -> Option<(u64, u64)> {
    let mut parts = version.split('.').map(str::parse::<u64>);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

fn parse(version: &str) -> Option<(u64, u64)> {
    let parts = version.split('.').count();
    minor_of(version).filter(|_| parts == 2 || parts == 3)
}

/// Whether a text has the form of a version.
pub fn is_version(text: &str) -> bool {
    parse(text).is_some()
}

/// The version to go down to: the minor before the current one.
///
/// # Errors
/// The text is no version, or not the expected one.
pub fn downgrade_target(version: &str, current: &str) -> Result<String, Error> {
    let (major, minor) = parse(version).ok_or(Error::WrongDowngradeFormat)?;
    match minor_of(current) {
        Some((to, above)) if to == major && minor + 1 == above => Ok(format!("{major}.{minor}.0")),
        _ => Err(Error::InvalidDowngradeTarget),
    }
}

/// The version that the cluster should have: the least that a member has, or the one to go down to,
/// from where all members can. None where one has not said, or nothing changes.
pub fn decide(
    members: &[Option<String>],
    current: Option<&str>,
    target: Option<&str>,
) -> Option<String> {
    let known: Option<Vec<_>> =
        members.iter().map(|version| minor_of(version.as_deref()?)).collect();
    let Some(least) = known.and_then(|all| all.into_iter().min()) else {
        // A cluster without a version gets the oldest one until all have spoken.
        return current.is_none().then(|| "3.0.0".to_owned());
    };
    let now = current.and_then(minor_of);
    let next = match (target, now) {
        (Some(target), Some(now)) => {
            let target = minor_of(target)?;
            let is_below = |(major, minor)| target.0 == major && target.1 + 1 == minor;
            (is_below(now) && is_below(least)).then_some(target)?
        }
        _ if now.is_none_or(|now| now < least) => least,
        _ => return None,
    };
    Some(format!("{}.{}.0", next.0, next.1))
}

/// Whether every member says that it has this version, whatever its patch.
pub fn all_are_at(members: &[Option<String>], target: &str) -> bool {
    let goal = minor_of(target);
    members.iter().all(|version| version.as_deref().and_then(minor_of) == goal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_as_young_as_its_oldest_member() {
        let some = |version: &str| Some(version.to_owned());
        let all = [some("3.7.9"), some("3.6.4")];
        assert_eq!(decide(&all, None, None), some("3.6.0"));
        assert_eq!(decide(&all, Some("3.6.0"), None), None);
        assert_eq!(decide(&all[..1], Some("3.6.0"), None), some("3.7.0"));
        assert_eq!(decide(&[some("3.7.9"), None], None, None), some("3.0.0"));
        assert_eq!(decide(&[some("3.7.9"), None], Some("3.0.0"), None), None);
    }

    #[test]
    fn a_cluster_goes_down_when_all_members_have_spoken() {
        let some = |version: &str| Some(version.to_owned());
        let (new, target) = (some("3.7.9"), Some("3.6.0"));
        let down = |members: &[Option<String>], current| decide(members, Some(current), target);
        assert_eq!(down(&[new.clone(), new.clone()], "3.7.0"), some("3.6.0"));
        assert_eq!(down(&[new.clone(), None], "3.7.0"), None);
        assert_eq!(down(&[new.clone(), some("3.6.4")], "3.7.0"), None);
        assert_eq!(down(&[new.clone(), some("3.6.4")], "3.6.0"), None);
        assert_eq!(down(std::slice::from_ref(&new), "3.6.0"), None);
        assert!(all_are_at(&[some("3.6.4"), some("3.6.16")], "3.6.0"));
        assert!(!all_are_at(&[some("3.6.4"), new], "3.6.0"));
        assert!(!all_are_at(&[some("3.6.4"), None], "3.6.0"));
    }

    #[test]
    fn a_downgrade_goes_one_minor_down() {
        assert_eq!(downgrade_target("3.6.0", "3.7.0"), Ok("3.6.0".into()));
        assert_eq!(downgrade_target("3.5.0", "3.7.0"), Err(Error::InvalidDowngradeTarget));
        assert_eq!(downgrade_target("x", "3.7.0"), Err(Error::WrongDowngradeFormat));
    }
}
