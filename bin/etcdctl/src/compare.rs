//! Conditions of a transaction, `mod("key") > "0"`.

use crate::go;
use proto::etcdserverpb::Compare;
use proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};

/// Reads one condition.
///
/// # Errors
/// Says what is wrong with it.
pub(crate) fn parse(line: &str) -> Result<Compare, String> {
    let malformed = || format!("malformed comparison: {line}");
    let (target, rest) = line.split_once('(').ok_or_else(malformed)?;
    let (key, rest) = go::unquote(rest).ok_or_else(malformed)?;
    let rest = rest.strip_prefix(')').ok_or_else(malformed)?;
    let rest = rest.strip_prefix([' ', '\t']).ok_or_else(malformed)?.trim_start();
    let (operator, rest) = rest.split_once([' ', '\t']).ok_or_else(malformed)?;
    let (value, _) = go::unquote(rest.trim_start()).ok_or_else(malformed)?;
    let result = match operator {
        "=" => CompareResult::Equal,
        "!=" => CompareResult::NotEqual,
        ">" => CompareResult::Greater,
        "<" => CompareResult::Less,
        _ => return Err(format!("{} (unknown operator {operator})", malformed())),
    };
    let invalid = |_| format!("invalid txn compare request: {line}");
    let text = String::from_utf8_lossy(&value).into_owned();
    let (target, union) = match target {
        "ver" | "version" => {
            let version = go::parse_int(&text).map_err(invalid)?;
            (CompareTarget::Version, TargetUnion::Version(version))
        }
        "c" | "create" => {
            let revision = go::parse_int(&text).map_err(invalid)?;
            (CompareTarget::Create, TargetUnion::CreateRevision(revision))
        }
        "m" | "mod" => {
            let revision = go::parse_int(&text).map_err(invalid)?;
            (CompareTarget::Mod, TargetUnion::ModRevision(revision))
        }
        "val" | "value" => (CompareTarget::Value, TargetUnion::Value(value.into())),
        "lease" => {
            let id = go::parse_hex(&text).map_err(invalid)?;
            (CompareTarget::Lease, TargetUnion::Lease(id))
        }
        target => return Err(format!("{} (unknown target {target})", malformed())),
    };
    Ok(Compare {
        result: result as i32,
        target: target as i32,
        key: key.into(),
        target_union: Some(union),
        ..Compare::default()
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_read() {
        let compare = parse(r#"mod("k\n") > "7""#).unwrap();
        assert_eq!((compare.key.as_ref(), compare.result()), (&b"k\n"[..], CompareResult::Greater));
        assert_eq!(compare.target_union, Some(TargetUnion::ModRevision(7)));
        let union = |line: &str| parse(line).unwrap().target_union.unwrap();
        assert_eq!(union(r#"val("k") = "v""#), TargetUnion::Value("v".into()));
        assert_eq!(union(r#"ver("k") != "0""#), TargetUnion::Version(0));
        assert_eq!(union(r#"c("k") < "3""#), TargetUnion::CreateRevision(3));
        assert_eq!(union(r#"lease("k") = "1f""#), TargetUnion::Lease(31));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for line in ["mod", "mod(k) > \"1\"", "mod(\"k\")> \"1\"", "mod(\"k\") > 1", "mod(\"k\")"] {
            assert!(parse(line).unwrap_err().starts_with("malformed comparison: "), "{line}");
        }
        assert!(parse(r#"x("k") > "1""#).unwrap_err().ends_with("(unknown target x)"));
        assert!(parse(r#"mod("k") > "x""#).unwrap_err().starts_with("invalid txn compare"));
    }
}
