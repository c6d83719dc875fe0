internal import CAddressSpace
public import LinuxSys

/// One mapping of guest memory in this process, with an inaccessible page before and after it. Pages come into
/// being when somebody touches them. Unmapped when the last region, flat view or user lets go of it.
public final class HostMemory: Sendable {
    /// Host address of the first byte, page aligned.
    public let address: UInt
    /// Bytes, as asked for; the mapping is rounded up to whole pages.
    public let size: UInt64
    /// The file behind it, to be handed to another process; -1 when there is none. Valid as long as this object.
    public let fileDescriptor: Int32
    /// Which byte of the file is the mapping's first.
    public let fileOffset: UInt64
    /// Whoever else maps the file sees what is written here. False for a private mapping, also when a file is behind it.
    public let isShared: Bool
    /// Bytes that come and go together, a power of two: the machine's page, or hugetlbfs's where the file is from there.
    public let pageSize: UInt
    /// How its pages are given back, see `GuestMemory.release`.
    let release: Release
    /// Bytes that are mapped: whole pages.
    let length: Int
    private let reservation: UInt
    private let reservedLength: Int
    private let descriptor: OwnedFD?

    /// What is unusual about a mapping.
    public struct Options: OptionSet, Sendable {
        public let rawValue: UInt8
        public init(rawValue: UInt8) { self.rawValue = rawValue }
        /// Backed by a sealed memfd that another process (vhost-user) can map too.
        public static let shared = Options(rawValue: 1)
        /// Left out of core dumps (MADV_DONTDUMP): a crash of the monitor must not write guest secrets to disk.
        public static let excludedFromDump = Options(rawValue: 2)
        /// MADV_HUGEPAGE; off unless asked for, since it makes small guests resident early.
        public static let hugePages = Options(rawValue: 4)
        /// The file of a private mapping holds zeros and nobody writes it (a new one that was unlinked at once): a page that is given back reads zeros again.
        public static let zeroFile = Options(rawValue: 8)
        /// On a file system of huge pages: fails at once when too few are free, where an access would end the process with SIGBUS later.
        public static let reserved = Options(rawValue: 16)
    }

    /// What makes the host take pages back so that zeros are read from them afterwards.
    enum Release: Sendable {
        /// Nothing: the file of a private mapping would show through, for example a snapshot's old memory.
        case none
        /// MADV_DONTNEED, for memory that is this process's alone.
        case discard
        /// MADV_REMOVE, which punches a hole into the file (FALLOC_FL_PUNCH_HOLE): MADV_DONTNEED would leave the pages in it.
        case punchHole
    }

    /// Fresh memory, all zeros.
    public static func anonymous(
        size: UInt64, name: StaticString = "guest-ram", options: Options = []
    ) throws(AddressSpaceError) -> HostMemory {
        guard size > 0 else { throw .zeroSize("guest memory") }
        guard options.contains(.shared) else {
            return try HostMemory(size: size, descriptor: nil, offset: 0, shared: false, writable: true, options: options)
        }
        return try memoryFile(size: size, name: name, flags: 0, options: options)
    }

    /// Which huge pages: those of the host's default size, or of `size` bytes, a power of two.
    public enum HugePages: Equatable, Sendable {
        case standard
        case size(UInt64)
    }

    /// Fresh memory in a sealed memfd of huge pages, `.shared` or private. All pages are reserved, none is taken yet. `size` is a multiple of theirs.
    public static func hugePages(
        _ pages: HugePages, size: UInt64, name: StaticString = "guest-ram", options: Options = [.shared]
    ) throws(AddressSpaceError) -> HostMemory {
        guard size > 0 else { throw .zeroSize("guest memory") }
        // MFD_HUGETLB, and from bit 26 on the logarithm of the size (linux/memfd.h).
        var flags: UInt32 = 4
        if case .size(let bytes) = pages { flags |= UInt32(truncatingIfNeeded: bytes.trailingZeroBitCount & 0x3f) << 26 }
        return try memoryFile(size: size, name: name, flags: flags, options: options)
    }

    private static func memoryFile(
        size: UInt64, name: StaticString, flags: UInt32, options: Options
    ) throws(AddressSpaceError) -> HostMemory {
        guard let length = Int64(exactly: size) else { throw .overflow("guest memory") }
        // SAFETY: a StaticString written in the source is a NUL-terminated constant.
        let fd = unsafe as_sealed_memfd(UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self), length, flags)
        guard fd >= 0 else { throw .system("create shared guest memory", Errno(Int32(truncatingIfNeeded: -fd))) }
        let descriptor = OwnedFD(adopting: Int32(truncatingIfNeeded: fd))
        return try HostMemory(
            size: size, descriptor: descriptor, offset: 0, shared: options.contains(.shared), writable: true, options: options.union([.zeroFile, .reserved]))
    }

    /// `size` bytes of a file or device from `offset` on; on a file system of huge pages both are multiples of its pages, else the offset is one of the
    /// host's. Whoever else can truncate the file can kill this process with SIGBUS: only for files the user trusts.
    public static func mapping(
        _ descriptor: consuming OwnedFD, offset: UInt64 = 0, size: UInt64, writable: Bool = true, options: Options = [.shared]
    ) throws(AddressSpaceError) -> HostMemory {
        guard size > 0 else { throw .zeroSize("mapped file") }
        guard let start = Int64(exactly: offset) else { throw .overflow("mapped file") }
        return try HostMemory(
            size: size, descriptor: descriptor, offset: start, shared: options.contains(.shared), writable: writable,
            options: options)
    }

    private init(
        size: UInt64, descriptor: consuming OwnedFD?, offset: Int64, shared: Bool, writable: Bool, options: Options
    ) throws(AddressSpaceError) {
        let fd = descriptor?.raw ?? -1
        let page = UInt(as_mapping_page_size(fd))
        // Half of the address space is far above what any host can map, and leaves room for the rounding below.
        guard size <= UInt64(Int64.max / 2), let bytes = UInt(exactly: size) else { throw .overflow("guest memory") }
        let length = Int((bytes + page - 1) / page * page)
        // Host and guest addresses must agree modulo the size of a huge page, or KVM can never map one.
        let alignment = max(page, size >= UInt64(hugePageSize) ? hugePageSize : page)
        let total = length + Int(page + alignment)
        var base: UInt = 0
        let reserved = unsafe as_reserve(total, &base)
        guard reserved == 0 else { throw .system("map guest memory", Errno(Int32(truncatingIfNeeded: -reserved))) }
        // At least one inaccessible page remains on either side.
        let start = (base + page + alignment - 1) / alignment * alignment
        var status = as_map_at(start, length, fd, offset, shared ? 1 : 0, writable ? 1 : 0, options.contains(.reserved) && page > as_page_size() ? 1 : 0)
        if status == 0, options.contains(.excludedFromDump) { status = as_exclude_from_dump(start, length) }
        guard status == 0 else {
            _ = as_unmap(base, total)
            throw .system("map guest memory", Errno(Int32(truncatingIfNeeded: -status)))
        }
        // Advice: a kernel without transparent huge pages serves as well.
        if options.contains(.hugePages) { _ = as_advise_huge_pages(start, length) }
        address = start
        self.size = size
        self.length = length
        pageSize = page
        reservation = base
        reservedLength = total
        self.descriptor = descriptor
        fileDescriptor = fd
        fileOffset = UInt64(clamping: offset)
        isShared = shared && fd >= 0
        release = !writable ? .none : isShared ? .punchHole : fd < 0 || options.contains(.zeroFile) ? .discard : .none
    }

    deinit { _ = as_unmap(reservation, reservedLength) }
}

/// What one page of entries of 8 bytes maps: 2 MiB, and 32 MiB or 512 MiB with the larger pages that aarch64 hosts may have.
private let hugePageSize = UInt(as_page_size()) / 8 * UInt(as_page_size())
