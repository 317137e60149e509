//! Prometheus' text form, with numbers written as Go writes them: bounds of buckets are labels, so
//! their spelling counts.

use prometheus::proto::{Histogram, LabelPair, MetricFamily, MetricType};
use std::fmt::Write;

/// Numbers from this power of ten on are written with an exponent.
const EXPONENT_FROM: i32 = 6;

/// Writes families, sorted by name.
pub(super) fn encode(mut families: Vec<MetricFamily>) -> String {
    families.sort_by(|a, b| a.name().cmp(b.name()));
    let mut out = String::new();
    for family in &families {
        self::family(&mut out, family);
    }
    out
}

fn family(out: &mut String, family: &MetricFamily) {
    let kind = match family.get_field_type() {
        MetricType::COUNTER => "counter",
        MetricType::HISTOGRAM => "histogram",
        _ => "gauge",
    };
    let name = family.name();
    let help = family.help().replace('\\', "\\\\").replace('\n', "\\n");
    put(out, format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    for metric in family.get_metric() {
        let labels = metric.get_label();
        match family.get_field_type() {
            MetricType::COUNTER => sample(out, name, labels, metric.get_counter().get_value()),
            MetricType::HISTOGRAM => histogram(out, name, labels, metric.get_histogram()),
            _ => sample(out, name, labels, metric.get_gauge().get_value()),
        }
    }
}

fn histogram(out: &mut String, name: &str, labels: &[LabelPair], histogram: &Histogram) {
    let count = histogram.get_sample_count();
    let mut bucket = |bound: f64, count: u64| {
        let mut labels = labels.to_vec();
        let mut le = LabelPair::default();
        le.set_name("le".to_owned());
        le.set_value(number(bound));
        labels.push(le);
        sample(out, &format!("{name}_bucket"), &labels, count as f64);
    };
    for each in histogram.get_bucket().iter().filter(|each| each.upper_bound().is_finite()) {
        bucket(each.upper_bound(), each.cumulative_count());
    }
    bucket(f64::INFINITY, count);
    sample(out, &format!("{name}_sum"), labels, histogram.get_sample_sum());
    sample(out, &format!("{name}_count"), labels, count as f64);
}

fn sample(out: &mut String, name: &str, labels: &[LabelPair], value: f64) {
    out.push_str(name);
    for (n, label) in labels.iter().enumerate() {
        out.push(if n == 0 { '{' } else { ',' });
        let value = label.value().replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"");
        put(out, format_args!("{}=\"{value}\"", label.name()));
    }
    if !labels.is_empty() {
        out.push('}');
    }
    put(out, format_args!(" {}\n", number(value)));
}

/// A number in Go's shortest form: with an exponent below 0.0001 and from a million on.
fn number(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..EXPONENT_FROM).contains(&exponent) {
        return format!("{value}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("memory takes every byte");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_go() {
        let same = |value: f64, text: &str| assert_eq!(number(value), text);
        same(0.0, "0");
        same(0.001, "0.001");
        same(8.192, "8.192");
        same(0.0001, "0.0001");
        same(0.00001, "1e-05");
        same(409.6, "409.6");
        same(20480.0, "20480");
        same(100_000.0, "100000");
        same(1_000_000.0, "1e+06");
        same(2_147_483_648.0, "2.147483648e+09");
        same(8_388_608.0, "8.388608e+06");
        same(1.84467440737095e19, "1.84467440737095e+19");
        same(-1.0, "-1");
        same(f64::INFINITY, "+Inf");
    }

    #[test]
    fn labels_are_escaped() {
        let mut label = LabelPair::default();
        label.set_name("l".into());
        label.set_value("a\"b\\\n".into());
        let mut out = String::new();
        sample(&mut out, "name", &[label], 1.0);
        assert_eq!(out, "name{l=\"a\\\"b\\\\\\n\"} 1\n");
    }
}
