//! `google.protobuf.Timestamp`, with the JSON form that protobuf prescribes.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Serialize, Serializer};

/// A point in time, UTC, to the nanosecond. Wire-compatible with `google.protobuf.Timestamp`; in JSON an RFC 3339 string.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct Timestamp {
    /// Seconds since 1970-01-01T00:00:00Z.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// Nanoseconds of the second, 0 to 999 999 999.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        Self { seconds, nanos: i32::try_from(since.subsec_nanos()).unwrap_or(0) }
    }
}

impl Timestamp {
    /// As RFC 3339 writes it: `2023-11-14T22:13:20Z`.
    #[must_use]
    pub fn rfc3339(&self) -> impl fmt::Display {
        prost_types::Timestamp { seconds: self.seconds, nanos: self.nanos }
    }
}

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> Self {
        let seconds = u64::try_from(time.seconds).unwrap_or(0);
        UNIX_EPOCH + Duration::new(seconds, u32::try_from(time.nanos).unwrap_or(0))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.rfc3339())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_reads_as_rfc_3339_in_json() {
        let time = Timestamp { seconds: 1_700_000_000, nanos: 0 };
        assert_eq!(serde_json::to_string(&time).unwrap(), "\"2023-11-14T22:13:20Z\"");
    }

    #[test]
    fn a_timestamp_survives_the_way_through_system_time() {
        let time = Timestamp { seconds: 1_700_000_000, nanos: 5 };
        assert_eq!(Timestamp::from(SystemTime::from(time)), time);
    }
}
