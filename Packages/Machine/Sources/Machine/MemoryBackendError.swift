public import AddressSpace
public import LinuxSys

/// Why a memory backend could not be made. `description` is half a sentence, for after the option.
public enum MemoryBackendError: Error, Equatable, Sendable, CustomStringConvertible {
    case open(path: String, Errno)
    case notAFile(path: String)
    /// The file's size could not be found or set.
    case size(path: String, Errno)
    /// In bytes: what the file has, and what the memory needs.
    case tooShort(path: String, bytes: UInt64, size: UInt64)
    /// The size is no multiple of the pages of a file system of huge pages.
    case partialPage(path: String, pageSize: UInt64)
    case tooFewHugePages(path: String, pageSize: UInt64)
    case hugePages(AddressSpaceError)
    case map(AddressSpaceError)
    case noSuchNode(UInt64)
    case policy(Errno)
    case populate(size: UInt64, Errno)

    public var description: String {
        switch self {
        case .open(let path, let error): "cannot open '\(path)': \(error)"
        case .notAFile(let path): "'\(path)' is neither a regular file nor a folder"
        case .size(let path, let error): "cannot set the size of '\(path)': \(error)"
        case .tooShort(let path, let bytes, let size): "'\(path)' has \(bytes) bytes, fewer than the memory's \(size)"
        case .partialPage(let path, let pageSize): "the size must be a multiple of \(pageSize >> 10) KiB, the page size of '\(path)'"
        case .tooFewHugePages(let path, let pageSize): "there are too few free huge pages of \(pageSize >> 10) KiB for '\(path)'"
        case .hugePages(.system(_, .noMemory)): "there are too few free huge pages"
        case .hugePages(.system(_, .invalid)): "the size must be a multiple of the huge pages'"
        case .hugePages(.system(_, .noDevice)): "the host has no huge pages of this size"
        case .hugePages(let error), .map(let error): error.description
        case .noSuchNode(let node): "host-nodes=: the host has no node \(node)"
        case .policy(let error): "cannot place the memory on the host's nodes: \(error)"
        // What an access would have got as SIGBUS.
        case .populate(let size, .fault): "cannot take \(size >> 20) MiB from the host: too few free huge pages, or no space left in the file system"
        case .populate(let size, let error): "cannot take \(size >> 20) MiB from the host: \(error)"
        }
    }
}
