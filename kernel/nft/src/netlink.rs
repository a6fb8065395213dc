//! Numbers of the kernel interface (`linux/netfilter/nf_tables.h`, `linux/netlink.h`), and the header of a message.

/// `NFNL_SUBSYS_NFTABLES`, the high byte of message types.
pub(crate) const SUBSYSTEM: u16 = 10;
/// Family `inet`.
pub(crate) const INET: u8 = 1;

/// `struct nlmsghdr` and `struct nfgenmsg`.
pub(crate) const HEADER: usize = 20;
/// `struct nfgenmsg`.
pub(crate) const FAMILY_HEADER: usize = 4;
/// The generation in `NFT_MSG_NEWGEN`.
pub(crate) const GENERATION_ID: u16 = 1;

pub(crate) mod message {
    pub(crate) const BATCH_BEGIN: u16 = 16;
    pub(crate) const BATCH_END: u16 = 17;

    pub(crate) const NEW_TABLE: u16 = 0;
    pub(crate) const DEL_TABLE: u16 = 2;
    pub(crate) const NEW_CHAIN: u16 = 3;
    pub(crate) const GET_CHAIN: u16 = 4;
    pub(crate) const DEL_CHAIN: u16 = 5;
    pub(crate) const NEW_RULE: u16 = 6;
    pub(crate) const GET_RULE: u16 = 7;
    pub(crate) const DEL_RULE: u16 = 8;
    pub(crate) const NEW_SET: u16 = 9;
    pub(crate) const GET_SET: u16 = 10;
    pub(crate) const DEL_SET: u16 = 11;
    pub(crate) const NEW_ELEMENT: u16 = 12;
    pub(crate) const GET_ELEMENT: u16 = 13;
    pub(crate) const DEL_ELEMENT: u16 = 14;
    pub(crate) const NEW_GENERATION: u16 = 15;
    pub(crate) const GET_GENERATION: u16 = 16;
}

pub(crate) mod flag {
    pub(crate) const REQUEST: u16 = 0x1;
    pub(crate) const ACK: u16 = 0x4;
    pub(crate) const DUMP: u16 = 0x300;
    pub(crate) const CREATE: u16 = 0x400;
    pub(crate) const EXCLUSIVE: u16 = 0x200;
    pub(crate) const APPEND: u16 = 0x800;
}

pub(crate) mod table {
    pub(crate) const NAME: u16 = 1;
    pub(crate) const FLAGS: u16 = 2;
}

pub(crate) mod chain {
    pub(crate) const TABLE: u16 = 1;
    pub(crate) const NAME: u16 = 3;
    pub(crate) const HOOK: u16 = 4;
    pub(crate) const POLICY: u16 = 5;
    pub(crate) const KIND: u16 = 7;
    pub(crate) const HOOK_NUMBER: u16 = 1;
    pub(crate) const HOOK_PRIORITY: u16 = 2;
}

pub(crate) mod rule {
    pub(crate) const TABLE: u16 = 1;
    pub(crate) const CHAIN: u16 = 2;
    pub(crate) const EXPRESSIONS: u16 = 4;
    pub(crate) const USER_DATA: u16 = 7;
    /// Type of a comment in the user data.
    pub(crate) const USER_COMMENT: u8 = 0;
}

pub(crate) mod set {
    pub(crate) const TABLE: u16 = 1;
    pub(crate) const NAME: u16 = 2;
    pub(crate) const FLAGS: u16 = 3;
    pub(crate) const KEY_TYPE: u16 = 4;
    pub(crate) const KEY_LENGTH: u16 = 5;
    pub(crate) const DATA_TYPE: u16 = 6;
    pub(crate) const DATA_LENGTH: u16 = 7;
    pub(crate) const DESCRIPTION: u16 = 9;
    pub(crate) const ID: u16 = 10;
    pub(crate) const TIMEOUT: u16 = 11;
    pub(crate) const USER_DATA: u16 = 13;
    pub(crate) const DESCRIPTION_SIZE: u16 = 1;
    pub(crate) const DESCRIPTION_CONCAT: u16 = 2;
    pub(crate) const FIELD_LENGTH: u16 = 1;

    pub(crate) const ANONYMOUS: u32 = 0x1;
    pub(crate) const CONSTANT: u32 = 0x2;
    pub(crate) const INTERVAL: u32 = 0x4;
    pub(crate) const MAP: u32 = 0x8;
    pub(crate) const TIMEOUTS: u32 = 0x10;
    pub(crate) const DYNAMIC: u32 = 0x20;
    pub(crate) const CONCAT: u32 = 0x80;

    /// The data type of verdict maps.
    pub(crate) const VERDICTS: u32 = 0xffff_ff00;
}

pub(crate) mod element {
    pub(crate) const TABLE: u16 = 1;
    pub(crate) const SET: u16 = 2;
    pub(crate) const LIST: u16 = 3;
    pub(crate) const SET_ID: u16 = 4;
    pub(crate) const KEY: u16 = 1;
    pub(crate) const DATA: u16 = 2;
    pub(crate) const FLAGS: u16 = 3;
    pub(crate) const KEY_END: u16 = 10;
    pub(crate) const INTERVAL_END: u32 = 1;
}

pub(crate) mod data {
    pub(crate) const VALUE: u16 = 1;
    pub(crate) const VERDICT: u16 = 2;
    pub(crate) const VERDICT_CODE: u16 = 1;
    pub(crate) const VERDICT_CHAIN: u16 = 2;
}

pub(crate) mod verdict {
    pub(crate) const DROP: i32 = 0;
    pub(crate) const ACCEPT: i32 = 1;
    pub(crate) const JUMP: i32 = -3;
    pub(crate) const GOTO: i32 = -4;
    pub(crate) const RETURN: i32 = -5;
}

/// An entry of a list, and the attributes of an expression in it.
pub(crate) const LIST_ENTRY: u16 = 1;
pub(crate) const EXPRESSION_NAME: u16 = 1;
pub(crate) const EXPRESSION_DATA: u16 = 2;

/// Attributes of expressions, one module each.
pub(crate) mod expression {
    pub(crate) mod meta {
        pub(crate) const DESTINATION: u16 = 1;
        pub(crate) const KEY: u16 = 2;
        pub(crate) const SOURCE: u16 = 3;
        pub(crate) const MARK: u32 = 3;
        pub(crate) const IIFNAME: u32 = 6;
        pub(crate) const OIFNAME: u32 = 7;
        pub(crate) const NFPROTO: u32 = 15;
        pub(crate) const L4PROTO: u32 = 16;
    }
    pub(crate) mod ct {
        pub(crate) const DESTINATION: u16 = 1;
        pub(crate) const KEY: u16 = 2;
        pub(crate) const SOURCE: u16 = 4;
        pub(crate) const STATE: u32 = 0;
        pub(crate) const DIRECTION: u32 = 1;
        pub(crate) const MARK: u32 = 3;
    }
    pub(crate) mod payload {
        pub(crate) const DESTINATION: u16 = 1;
        pub(crate) const BASE: u16 = 2;
        pub(crate) const OFFSET: u16 = 3;
        pub(crate) const LENGTH: u16 = 4;
        pub(crate) const NETWORK: u32 = 1;
        pub(crate) const TRANSPORT: u32 = 2;
    }
    pub(crate) mod cmp {
        pub(crate) const SOURCE: u16 = 1;
        pub(crate) const OPERATION: u16 = 2;
        pub(crate) const DATA: u16 = 3;
        pub(crate) const EQUAL: u32 = 0;
        pub(crate) const NOT_EQUAL: u32 = 1;
        pub(crate) const AT_MOST: u32 = 3;
        pub(crate) const AT_LEAST: u32 = 5;
    }
    pub(crate) mod range {
        pub(crate) const SOURCE: u16 = 1;
        pub(crate) const OPERATION: u16 = 2;
        pub(crate) const FROM: u16 = 3;
        pub(crate) const TO: u16 = 4;
    }
    pub(crate) mod bitwise {
        pub(crate) const SOURCE: u16 = 1;
        pub(crate) const DESTINATION: u16 = 2;
        pub(crate) const LENGTH: u16 = 3;
        pub(crate) const MASK: u16 = 4;
        pub(crate) const XOR: u16 = 5;
        pub(crate) const OPERATION: u16 = 6;
    }
    pub(crate) mod byteorder {
        pub(crate) const LENGTH: u16 = 4;
    }
    pub(crate) mod lookup {
        pub(crate) const SET: u16 = 1;
        pub(crate) const SOURCE: u16 = 2;
        pub(crate) const DESTINATION: u16 = 3;
        pub(crate) const SET_ID: u16 = 4;
        pub(crate) const FLAGS: u16 = 5;
        pub(crate) const INVERTED: u32 = 1;
    }
    pub(crate) mod immediate {
        pub(crate) const DESTINATION: u16 = 1;
        pub(crate) const DATA: u16 = 2;
    }
    pub(crate) mod nat {
        pub(crate) const KIND: u16 = 1;
        pub(crate) const FAMILY: u16 = 2;
        pub(crate) const ADDRESS_MIN: u16 = 3;
        pub(crate) const PORT_MIN: u16 = 5;
        pub(crate) const FLAGS: u16 = 7;
        pub(crate) const DESTINATION: u32 = 1;
        /// What the kernel itself sets when there is an address and a port.
        pub(crate) const IMPLIED_FLAGS: u32 = 0x3;
    }
    pub(crate) mod masq {
        pub(crate) const FLAGS: u16 = 1;
        pub(crate) const FULLY_RANDOM: u32 = 0x10;
    }
    pub(crate) mod reject {
        pub(crate) const KIND: u16 = 1;
        pub(crate) const CODE: u16 = 2;
        pub(crate) const ICMPX: u32 = 2;
        pub(crate) const PORT_UNREACHABLE: u8 = 1;
        pub(crate) const ADMIN_PROHIBITED: u8 = 3;
    }
    pub(crate) mod log {
        pub(crate) const PREFIX: u16 = 2;
    }
    pub(crate) mod dynset {
        pub(crate) const SET: u16 = 1;
        pub(crate) const OPERATION: u16 = 3;
        pub(crate) const KEY: u16 = 4;
        pub(crate) const DATA: u16 = 5;
        pub(crate) const ADD: u32 = 0;
        pub(crate) const UPDATE: u32 = 1;
        pub(crate) const DELETE: u32 = 2;
    }
    pub(crate) mod numgen {
        pub(crate) const DESTINATION: u16 = 1;
        pub(crate) const MODULUS: u16 = 2;
        pub(crate) const KIND: u16 = 3;
        pub(crate) const OFFSET: u16 = 4;
        pub(crate) const INCREMENTAL: u32 = 0;
        pub(crate) const RANDOM: u32 = 1;
    }
    pub(crate) mod hash {
        pub(crate) const SOURCE: u16 = 1;
        pub(crate) const DESTINATION: u16 = 2;
        pub(crate) const LENGTH: u16 = 3;
        pub(crate) const MODULUS: u16 = 4;
        pub(crate) const SEED: u16 = 5;
        pub(crate) const OFFSET: u16 = 6;
        pub(crate) const KIND: u16 = 7;
        pub(crate) const JENKINS: u32 = 0;
    }
}

/// A register is 16 bytes by its old number and 4 by its new one. Word `n` counts in units of 4 bytes.
pub(crate) const REGISTER_WORDS: usize = 16;

/// The new number of word `n`.
pub(crate) fn register(word: usize) -> u32 {
    8 + u32::try_from(word).unwrap_or(u32::MAX - 8)
}

/// The word that a register number means, old or new.
pub(crate) fn word(register: u32) -> Option<usize> {
    let word = match register {
        1..=4 => (register - 1) * 4,
        8.. => register - 8,
        _ => return None,
    };
    usize::try_from(word).ok().filter(|word| *word < REGISTER_WORDS)
}

/// Where a field lies in the packet: base, offset, length in bytes.
pub(crate) const fn payload_of(field: crate::Field) -> Option<(u32, u32, u32)> {
    use crate::Field;
    use expression::payload::{NETWORK, TRANSPORT};
    Some(match field {
        Field::Ip4Saddr => (NETWORK, 12, 4),
        Field::Ip4Daddr => (NETWORK, 16, 4),
        Field::Ip6Saddr => (NETWORK, 8, 16),
        Field::Ip6Daddr => (NETWORK, 24, 16),
        Field::ThSport => (TRANSPORT, 0, 2),
        Field::ThDport => (TRANSPORT, 2, 2),
        Field::IcmpType | Field::Icmpv6Type => (TRANSPORT, 0, 1),
        Field::IcmpCode | Field::Icmpv6Code => (TRANSPORT, 1, 1),
        _ => return None,
    })
}
