public import LinuxSys

/// Why a region, a host mapping or a transaction was refused. Nothing has changed when one is thrown,
/// except for `rollbackFailed`.
public enum AddressSpaceError: Error, Equatable, Sendable, CustomStringConvertible {
    /// A region or host mapping of no bytes.
    case zeroSize(String)
    /// An offset and a size whose sum does not fit in 64 bits (or in the host's address space).
    case overflow(String)
    /// The child would not lie wholly inside the container.
    case outsideParent(child: String, parent: String)
    /// Only containers have children.
    case notAContainer(String)
    /// The region is in a container already, or is the root of an address space; use an alias.
    case alreadyPlaced(String)
    case notAChild(child: String, parent: String)
    /// The child would contain itself, directly or through aliases.
    case cycle(String)
    /// Containers and aliases nest deeper than `AddressSpace.maxDepth`.
    case treeTooDeep(String)
    /// Rendering visits more than `AddressSpace.maxVisits` regions (aliases of aliases multiply).
    case treeTooLarge(String)
    /// The region shows bytes that its host memory does not have.
    case outsideHostMemory(String)
    /// An access size that is not 1, 2, 4 or 8.
    case badAccessSize(String, Int)
    /// The operation does not fit this kind of region.
    case wrongKind(String)
    case badIOEventFD(region: String, offset: UInt64)
    case duplicateIOEventFD(region: String, offset: UInt64)
    case noSuchIOEventFD(region: String, offset: UInt64)
    case alreadyListening
    /// A listener tried to change the tree that it was being told about.
    case changeDuringCommit
    /// A system call of this package failed.
    case system(String, Errno)
    /// For listeners: what could not be applied (for example "map guest memory at 0x0"), and why.
    case listener(String, Errno)
    /// A listener failed, and another could not return to the old state: the machine must stop.
    case rollbackFailed(String)

    public var description: String {
        switch self {
        case .zeroSize(let name): "\(name) has size 0"
        case .overflow(let name): "\(name): offset and size exceed the 64-bit address space"
        case .outsideParent(let child, let parent): "\(child) does not fit inside \(parent)"
        case .notAContainer(let name): "\(name) is not a container"
        case .alreadyPlaced(let name): "\(name) is already placed in a container"
        case .notAChild(let child, let parent): "\(child) is not in \(parent)"
        case .cycle(let name): "\(name) would contain itself"
        case .treeTooDeep(let name): "the regions of \(name) nest too deeply"
        case .treeTooLarge(let name): "the region tree of \(name) is too large"
        case .outsideHostMemory(let name): "\(name) exceeds its host memory"
        case .badAccessSize(let name, let size): "\(name): \(size) is not an access size"
        case .wrongKind(let name): "\(name) is a region of another kind"
        case .badIOEventFD(let region, let offset): "\(region): invalid ioeventfd at offset \(offset)"
        case .duplicateIOEventFD(let region, let offset): "\(region): ioeventfd at offset \(offset) exists already"
        case .noSuchIOEventFD(let region, let offset): "\(region): no such ioeventfd at offset \(offset)"
        case .alreadyListening: "the listener is already registered"
        case .changeDuringCommit: "a listener may not change the address space"
        case .system(let what, let errno): "cannot \(what): \(errno)"
        case .listener(let what, let errno): "cannot \(what): \(errno)"
        case .rollbackFailed(let cause): "\(cause), and the previous memory layout could not be restored"
        }
    }
}
