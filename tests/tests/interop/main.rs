//! bgpd and speakers of other makers, on real sockets and real kernels.

mod reflection;
mod sessions;

fn main() {
    tests::main([sessions::labs(), reflection::labs()].into_iter().flatten().collect())
}
