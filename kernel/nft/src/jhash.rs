//! The kernel's `jhash` (Bob Jenkins' lookup3), so that a verdict names the slot that the kernel takes.

const GOLDEN: u32 = 0xdead_beef;
const BLOCK: usize = 12;

/// The slot that `jhash … mod modulus` gives for these bytes.
pub(crate) fn slot(key: &[u8], seed: u32, modulus: u32) -> u32 {
    // reciprocal_scale(): the product's high half.
    let scaled = (u64::from(jhash(key, seed)) * u64::from(modulus)) >> 32;
    u32::try_from(scaled).unwrap_or(0)
}

fn jhash(mut key: &[u8], seed: u32) -> u32 {
    let length = u32::try_from(key.len()).unwrap_or(u32::MAX);
    let start = GOLDEN.wrapping_add(length).wrapping_add(seed);
    let (mut a, mut b, mut c) = (start, start, start);
    while key.len() > BLOCK {
        let (block, rest) = key.split_at(BLOCK);
        a = a.wrapping_add(word(block, 0));
        b = b.wrapping_add(word(block, 1));
        c = c.wrapping_add(word(block, 2));
        (a, b, c) = mix(a, b, c);
        key = rest;
    }
    if key.is_empty() {
        return c;
    }
    a = a.wrapping_add(word(key, 0));
    b = b.wrapping_add(word(key, 1));
    c = c.wrapping_add(word(key, 2));
    final_mix(a, b, c)
}

/// Word `index` of the bytes, in the order of the machine as the kernel reads whole blocks; missing bytes are zero.
fn word(bytes: &[u8], index: usize) -> u32 {
    let mut word = [0; 4];
    for (to, from) in word.iter_mut().zip(bytes.iter().skip(index * 4)) {
        *to = *from;
    }
    u32::from_ne_bytes(word)
}

const fn mix(mut a: u32, mut b: u32, mut c: u32) -> (u32, u32, u32) {
    a = a.wrapping_sub(c) ^ c.rotate_left(4);
    c = c.wrapping_add(b);
    b = b.wrapping_sub(a) ^ a.rotate_left(6);
    a = a.wrapping_add(c);
    c = c.wrapping_sub(b) ^ b.rotate_left(8);
    b = b.wrapping_add(a);
    a = a.wrapping_sub(c) ^ c.rotate_left(16);
    c = c.wrapping_add(b);
    b = b.wrapping_sub(a) ^ a.rotate_left(19);
    a = a.wrapping_add(c);
    c = c.wrapping_sub(b) ^ b.rotate_left(4);
    b = b.wrapping_add(a);
    (a, b, c)
}

const fn final_mix(mut a: u32, mut b: u32, mut c: u32) -> u32 {
    c = (c ^ b).wrapping_sub(b.rotate_left(14));
    a = (a ^ c).wrapping_sub(c.rotate_left(11));
    b = (b ^ a).wrapping_sub(a.rotate_left(25));
    c = (c ^ b).wrapping_sub(b.rotate_left(16));
    a = (a ^ c).wrapping_sub(c.rotate_left(4));
    b = (b ^ a).wrapping_sub(a.rotate_left(14));
    (c ^ b).wrapping_sub(b.rotate_left(24))
}
