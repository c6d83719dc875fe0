// The one place that chooses an architecture.
#if arch(x86_64)
    typealias HostPlatform = X86Platform
#endif

/// A part of guest RAM: `size` bytes from `offset` of a mapping on, at guest physical address `base`.
struct RAMPart: Equatable, Sendable {
    let name: String
    let base: UInt64
    let size: UInt64
    /// Which mapping, in the order of their sizes: the only one, or that of a node.
    let memory: Int
    let offset: UInt64
}
