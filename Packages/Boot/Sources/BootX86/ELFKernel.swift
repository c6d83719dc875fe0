public import BootCommon

/// A 64-bit x86-64 ELF kernel: `vmlinux`, or anything else that is linked for its physical addresses.
public struct ELFKernel: Equatable, Sendable {
    public struct Segment: Equatable, Sendable {
        /// Position among all program headers, for messages.
        public let index: Int
        public let fileOffset: UInt64
        public let fileSize: UInt64
        /// p_paddr ..< p_paddr + p_memsz; what lies behind `fileSize` is zero at entry.
        public let range: GuestRange
    }

    /// How the first instruction is reached.
    public enum Entry: Equatable, Sendable {
        /// 64-bit mode with the zero page, at e_entry.
        case long(UInt64)
        /// 32-bit protected mode with `hvm_start_info`, at the address of the PVH note.
        case pvh(UInt64)
    }

    /// PT_LOAD segments with memory, in the order of the file; they do not overlap.
    public let segments: [Segment]
    public let entry: Entry

    static let magic: [UInt8] = [0x7f, 0x45, 0x4c, 0x46]
    /// vmlinux has 4 or 5.
    static let programHeaderLimit = 64
    private static let headerSize = 64
    private static let programHeaderSize = 56
    private static let x86_64: UInt16 = 62
    private static let aarch64: UInt16 = 183
    private static let riscv: UInt16 = 243

    struct ProgramHeader {
        static let load: UInt32 = 1
        static let note: UInt32 = 4

        let index: Int
        let type: UInt32
        let offset: UInt64
        let physicalAddress: UInt64
        let fileSize: UInt64
        let memorySize: UInt64
        let alignment: UInt64
    }

    init(head: LittleEndianBytes, source: borrowing some KernelSource & ~Copyable) throws(KernelImageError) {
        let size = source.size
        let headers = try Self.programHeaders(head: head, source: source)
        segments = try Self.loadableSegments(headers, size: size)
        guard let nativeEntry = head.load(UInt64.self, at: 24) else {
            throw .truncated(.elf, needed: UInt64(Self.headerSize), size: size)
        }
        let pvhEntry = try Self.pvhEntry(headers, source: source)
        // vmlinux has both entries and prefers the 64-bit one. A kernel that lives by PVH alone either repeats the
        // note's address in e_entry or has a virtual address there, which lies outside every physical range.
        let nativeIsLoaded = segments.contains { $0.range.contains(nativeEntry) }
        if let pvhEntry, !nativeIsLoaded || pvhEntry == nativeEntry {
            guard segments.contains(where: { $0.range.contains(pvhEntry) }) else {
                throw .entryOutsideSegments(pvhEntry)
            }
            entry = .pvh(pvhEntry)
        } else {
            guard nativeIsLoaded else { throw .entryOutsideSegments(nativeEntry) }
            entry = .long(nativeEntry)
        }
    }

    private static func programHeaders(
        head: LittleEndianBytes, source: borrowing some KernelSource & ~Copyable
    ) throws(KernelImageError) -> [ProgramHeader] {
        let size = source.size
        guard let elfClass = head.load(UInt8.self, at: 4), let encoding = head.load(UInt8.self, at: 5),
            let type = head.load(UInt16.self, at: 16), let machine = head.load(UInt16.self, at: 18),
            let version = head.load(UInt32.self, at: 20), let tableOffset = head.load(UInt64.self, at: 32),
            let entrySize = head.load(UInt16.self, at: 54), let count = head.load(UInt16.self, at: 56),
            head.count >= headerSize
        else { throw .truncated(.elf, needed: UInt64(headerSize), size: size) }
        guard elfClass == 2 else { throw .elf32Bit }
        guard encoding == 1 else { throw .elfBigEndian }
        switch machine {
        case x86_64: break
        case aarch64: throw .foreignArchitecture("aarch64")
        case riscv: throw .foreignArchitecture("riscv64")
        default: throw .elfMachine(machine)
        }
        guard version == 1 else { throw .elfVersion(version) }
        guard type == 2 || type == 3 else { throw .elfNotExecutable(type) }
        guard entrySize == programHeaderSize else { throw .programHeaderSize(entrySize) }
        guard 1...programHeaderLimit ~= Int(count) else {
            throw .programHeaderCount(count, limit: programHeaderLimit)
        }
        let tableSize = Int(count) * programHeaderSize
        let (tableEnd, wraps) = tableOffset.addingReportingOverflow(UInt64(tableSize))
        guard !wraps, tableEnd <= size else {
            throw .truncated(.elf, needed: wraps ? .max : tableEnd, size: size)
        }
        if tableEnd <= UInt64(head.count), let offset = Int(exactly: tableOffset) {
            return parse(head, at: offset, count: Int(count))
        }
        return parse(LittleEndianBytes(try source.bytes(at: tableOffset, count: tableSize)), at: 0, count: Int(count))
    }

    private static func parse(_ bytes: LittleEndianBytes, at start: Int, count: Int) -> [ProgramHeader] {
        (0..<count).compactMap { index in
            let offset = start + index * programHeaderSize
            guard let type = bytes.load(UInt32.self, at: offset), let fileOffset = bytes.load(UInt64.self, at: offset + 8),
                let address = bytes.load(UInt64.self, at: offset + 24),
                let fileSize = bytes.load(UInt64.self, at: offset + 32),
                let memorySize = bytes.load(UInt64.self, at: offset + 40),
                let alignment = bytes.load(UInt64.self, at: offset + 48)
            else { return nil }
            return ProgramHeader(
                index: index, type: type, offset: fileOffset, physicalAddress: address, fileSize: fileSize,
                memorySize: memorySize, alignment: alignment)
        }
    }

    private static func loadableSegments(
        _ headers: [ProgramHeader], size: UInt64
    ) throws(KernelImageError) -> [Segment] {
        var segments: [Segment] = []
        for header in headers where header.type == ProgramHeader.load {
            guard header.fileSize <= header.memorySize else {
                throw .segmentFileSizeExceedsMemorySize(index: header.index)
            }
            guard header.memorySize > 0 else { continue }
            guard let range = GuestRange(start: header.physicalAddress, count: header.memorySize) else {
                throw .segmentWraps(index: header.index)
            }
            try checkInsideFile(header, size: size)
            for other in segments where other.range.overlaps(range) {
                throw .segmentsOverlap(other.index, header.index)
            }
            segments.append(
                Segment(index: header.index, fileOffset: header.offset, fileSize: header.fileSize, range: range))
        }
        guard !segments.isEmpty else { throw .noLoadableSegment }
        return segments
    }

    static func checkInsideFile(_ header: ProgramHeader, size: UInt64) throws(KernelImageError) {
        let (end, wraps) = header.offset.addingReportingOverflow(header.fileSize)
        guard !wraps else { throw .segmentWraps(index: header.index) }
        // An all-bss segment may name any offset.
        guard end <= size || header.fileSize == 0 else { throw .truncated(.elf, needed: end, size: size) }
    }
}
