//! The members `limits` and `delAnnotations` of an action's PUT.

use evoke_schemas::limits::{ActionLimits, LimitError, LimitRanges, Side};
use schemars::JsonSchema;
use serde_json::Value;

use super::ApiError;

/// Limits that a body asks for; absent ones stay as they are. The hub's own bounds are in
/// `GET /api/v1/namespaces/{ns}/limits`.
#[derive(Debug, Default, JsonSchema)]
#[schemars(rename = "ActionLimitsPut")]
pub(super) struct Asked {
    /// Milliseconds.
    #[schemars(range(min = 100, max = 300_000))]
    timeout: Option<i64>,
    /// MB.
    #[schemars(range(min = 128, max = 512))]
    memory: Option<i64>,
    /// MB.
    #[schemars(range(min = 0, max = 10))]
    logs: Option<i64>,
    /// Calls that one sandbox runs at a time.
    #[schemars(range(min = 1, max = 1))]
    concurrency: Option<i64>,
    #[schemars(range(min = 0))]
    instances: Option<i64>,
}

impl Asked {
    /// Reads the member of a body.
    pub(super) fn of(limits: Option<Value>) -> Result<Self, ApiError> {
        let limits = match limits {
            None | Some(Value::Null) => return Ok(Self::default()),
            Some(Value::Object(limits)) => limits,
            Some(_) => return Err(malformed("Object expected for `limits`")),
        };
        let number = |member, word| number(limits.get(member), word);
        let asked = Self {
            timeout: number("timeout", "time")?,
            memory: number("memory", "memory")?,
            logs: number("logs", "log")?,
            concurrency: number("concurrency", "concurrency")?,
            instances: number("instances", "instances")?,
        };
        if [asked.memory, asked.logs].iter().flatten().any(|size| *size < 0) {
            let text = "requirement failed: a negative size of an object is not allowed.";
            return Err(malformed(text));
        }
        if asked.instances.is_some_and(|instances| instances < 0) {
            return Err(malformed(
                "requirement failed: Action container concurrency must be greater than or equal \
                 to 0.",
            ));
        }
        Ok(asked)
    }

    /// The limits that hold: those asked for over those there were, or the defaults.
    pub(super) fn over(
        self,
        before: Option<&ActionLimits>,
        ranges: &LimitRanges,
    ) -> Result<ActionLimits, ApiError> {
        let mut limits = before.cloned().unwrap_or_else(|| ranges.defaults());
        let below = |error: fn(u64, Side, u64) -> LimitError, min| error(0, Side::Below, min);
        for (asked, limit, error, min) in [
            (
                self.memory,
                &mut limits.memory,
                LimitError::Memory as fn(_, _, _) -> _,
                ranges.memory.min,
            ),
            (self.timeout, &mut limits.timeout, LimitError::Timeout, ranges.timeout.min),
            (self.logs, &mut limits.logs, LimitError::Logs, ranges.logs.min),
            (
                self.concurrency,
                &mut limits.concurrency,
                LimitError::Concurrency,
                ranges.concurrency.min,
            ),
        ] {
            if let Some(asked) = asked {
                *limit = u64::try_from(asked).map_err(|_negative| below(error, min))?;
            }
        }
        if let Some(instances) = self.instances {
            limits.instances = u64::try_from(instances).ok();
        }
        ranges.check(&limits)?;
        Ok(limits)
    }
}

fn number(value: Option<&Value>, word: &str) -> Result<Option<i64>, ApiError> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Ok(Some(whole)),
            (None, Some(fraction)) if fraction.fract() != 0.0 => {
                let text = format!("requirement failed: {word} limit must be whole number");
                Err(ApiError::Malformed(text))
            }
            (None, _) => Err(ApiError::Malformed(format!("{word} limit malformed"))),
        },
        Some(_) => Err(ApiError::Malformed(format!("{word} limit malformed"))),
    }
}

/// A list of names of annotations.
pub(super) fn names(value: Option<Value>) -> Result<Vec<String>, ApiError> {
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(value) => serde_json::from_value(value)
            .map_err(|_detail| malformed("Expected a list of strings for `delAnnotations`")),
    }
}

fn malformed(text: &str) -> ApiError {
    ApiError::Malformed(text.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(limits: Value, want: &str) {
        let asked = Asked::of(Some(limits.clone()));
        let got = asked.and_then(|asked| asked.over(None, &LimitRanges::default()));
        let got = got.map_or_else(|error| error.to_string(), |limits| json!(limits).to_string());
        assert!(got.ends_with(want), "{limits}: {got}");
    }

    #[test]
    fn what_is_wrong_with_a_limit_is_said_in_openwhisks_words() {
        check(json!({}), r#"{"concurrency":1,"logs":10,"memory":256,"timeout":60000}"#);
        check(
            json!({"logs": 2, "colour": 1, "memory": null}),
            r#"{"concurrency":1,"logs":2,"memory":256,"timeout":60000}"#,
        );
        check(json!({"timeout": "x"}), "malformed:\ntime limit malformed");
        check(json!({"memory": 128.5}), "requirement failed: memory limit must be whole number");
        check(json!({"logs": -1}), "a negative size of an object is not allowed.");
        check(json!({"instances": -1}), "must be greater than or equal to 0.");
        check(
            json!({"timeout": 1, "memory": 1}),
            "requirement failed: memory size 1 MB below allowed threshold of 128 MB",
        );
        check(json!({"timeout": -1}), "below allowed threshold of 100 milliseconds");
        check(json!(1), "Object expected for `limits`");
    }
}
