//! Machine configs: what differs, and what is in effect.

use lepton_host_api::v1 as api;
use serde_json::Value;

use super::{NONE, text};
use crate::output::{Table, View, objects};

impl View for api::DiffConfigResponse {
    fn tables(&self, _: bool) -> Vec<Table> {
        vec![differences(&self.differences, self.left_out)]
    }

    fn objects(&self) -> Vec<Value> {
        objects(&self.differences)
    }
}

impl View for api::ApplyConfigResponse {
    fn tables(&self, _: bool) -> Vec<Table> {
        vec![differences(&self.differences, self.left_out)]
    }
}

impl View for api::CheckConfigResponse {
    fn tables(&self, _: bool) -> Vec<Table> {
        let row = |problem: &api::ConfigProblem| {
            let line = if problem.line == 0 { NONE.to_owned() } else { problem.line.to_string() };
            vec![line, text(&problem.key), problem.message.clone()]
        };
        vec![Table { head: &["LINE", "KEY", "PROBLEM"], rows: self.problems.iter().map(row).collect() }]
    }

    fn objects(&self) -> Vec<Value> {
        objects(&self.problems)
    }
}

/// A row for each key that differs.
fn differences(differences: &[api::ConfigDifference], left_out: u32) -> Table {
    let row = |difference: &api::ConfigDifference| {
        let value = |value: &Option<String>| value.as_deref().unwrap_or(NONE).replace('\n', " ");
        vec![difference.key.clone(), value(&difference.old), value(&difference.new), effect(difference)]
    };
    let more = (left_out > 0).then(|| vec![format!("and {left_out} more")]);
    Table {
        head: &["KEY", "OLD", "NEW", "TAKES EFFECT"],
        rows: differences.iter().map(row).chain(more).collect(),
    }
}

fn effect(difference: &api::ConfigDifference) -> String {
    match difference.effect() {
        api::ConfigEffect::Live => "at once".to_owned(),
        api::ConfigEffect::Reboot => "at the next start".to_owned(),
        api::ConfigEffect::Overridden => format!("not: {} has it", difference.overridden_by),
        api::ConfigEffect::NoService => format!("not: no service {}", difference.missing_service),
        api::ConfigEffect::Unspecified => NONE.to_owned(),
    }
}

/// The config of one host as a file: what is not in its text are comments.
pub(crate) fn effective(config: &api::GetConfigResponse) -> String {
    let mut text = format!("# revision {}\n# sources {}\n", config.revision, config.sources.join(", "));
    if let Some(trial) = &config.trial {
        text.push_str(&format!(
            "# on trial {}: for {} more\n",
            trial.id,
            crate::span::short(trial.remaining_ms)
        ));
    }
    if !config.persistent {
        text.push_str("# no state partition: what is applied is lost when the host starts next\n");
    }
    for error in &config.errors {
        text.push_str(&format!("# error {}\n", error.replace('\n', " ")));
    }
    text.push_str(&config.effective);
    text
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::output::printed;

    #[test]
    fn what_would_change() {
        let difference =
            |key: &str, old: Option<&str>, new: Option<&str>, effect: api::ConfigEffect, by: &str| {
                api::ConfigDifference {
                    missing_service: String::new(),
                    key: key.into(),
                    old: old.map(Into::into),
                    new: new.map(Into::into),
                    effect: effect.into(),
                    overridden_by: by.into(),
                }
            };
        let answer = api::DiffConfigResponse {
            differences: vec![
                difference("hostname", Some("\"a\""), Some("\"b\""), api::ConfigEffect::Live, ""),
                difference("network.dns", None, Some("[\n\"192.0.2.53\"\n]"), api::ConfigEffect::Reboot, ""),
                difference(
                    "time.servers",
                    Some("[]"),
                    None,
                    api::ConfigEffect::Overridden,
                    "kernel command line",
                ),
            ],
            revision: "ab".into(),
            left_out: 3,
            persistent: true,
        };
        let text = printed(false, &["a"], |output| output.answers(&[("a", answer.clone())]));
        expect![[r#"
            KEY           OLD  NEW               TAKES EFFECT
            hostname      "a"  "b"               at once
            network.dns   -    [ "192.0.2.53" ]  at the next start
            time.servers  []   -                 not: kernel command line has it
            and 3 more
        "#]]
        .assert_eq(&text);
    }

    #[test]
    fn a_config_is_a_file() {
        let config = api::GetConfigResponse {
            effective: "hostname = \"a\"\n".into(),
            revision: "ab".into(),
            sources: vec!["image".into(), "applied".into()],
            trial: Some(api::ConfigTrial { id: "t1".into(), remaining_ms: 59_000 }),
            errors: vec!["x\ny".into()],
            persistent: true,
            ..Default::default()
        };
        let text = "# revision ab\n# sources image, applied\n# on trial t1: for 59.0s more\n# error x y\nhostname = \"a\"\n";
        assert_eq!(effective(&config), text);
    }
}
