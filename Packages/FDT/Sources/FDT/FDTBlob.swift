private import CFDT

/// The memory of an unfinished tree and the only place that calls libfdt. Grows as needed up to its limit.
@safe struct FDTBlob: ~Copyable {
    /// One step of libfdt's sequential writer.
    enum Step {
        case create
        case reserve(address: UInt64, size: UInt64)
        case finishReservations
        case beginNode(String)
        case property(String, [UInt8], count: Int32)
        case endNode
        case finish
    }

    static let firstCapacity = 4 << 10

    /// libfdt wants 8-byte alignment and itself clears what it is given.
    private var memory: UnsafeMutableRawBufferPointer
    let limit: Int

    /// - Parameter limit: in bytes, raised to 4 KiB and lowered to what libfdt's `int` counts.
    init(limit: Int) {
        self.limit = min(max(limit, Self.firstCapacity), Int(Int32.max))
        unsafe memory = .allocate(byteCount: Self.firstCapacity, alignment: 8)
    }

    deinit { unsafe memory.deallocate() }

    /// Does `step`, and again in more memory while libfdt runs out of space. A step that fails changes nothing.
    mutating func perform(_ step: Step) throws(FDTError) {
        while true {
            let result = call(step)
            guard result < 0 else { return }
            guard result == -FDT_ERR_NOSPACE else { throw .library(code: 0 &- result) }
            try grow()
        }
    }

    /// The finished tree.
    func bytes() -> [UInt8] {
        // SAFETY: `memory` is ours until deinit; prefix() bounds every size that the header may state.
        let size = unsafe memory.dropFirst(4).prefix(4).reduce(0) { $0 << 8 | Int($1) }
        return unsafe [UInt8](memory.prefix(size))
    }

    private func call(_ step: Step) -> Int32 {
        // SAFETY: `memory` is exactly the block that libfdt was given, it checks its size in every step, and it keeps
        // neither the pointer nor a string after the call. `count` is the array's (FDTBuilder upholds it).
        let fdt = unsafe memory.baseAddress
        switch step {
        case .create: return unsafe fdt_create(fdt, Int32(truncatingIfNeeded: memory.count))
        case .reserve(let address, let size): return unsafe fdt_add_reservemap_entry(fdt, address, size)
        case .finishReservations: return unsafe fdt_finish_reservemap(fdt)
        case .beginNode(let name): return unsafe fdt_begin_node(fdt, name)
        case .property(let name, let bytes, let count): return unsafe fdt_property(fdt, name, bytes, count)
        case .endNode: return unsafe fdt_end_node(fdt)
        case .finish: return unsafe fdt_finish(fdt)
        }
    }

    private mutating func grow() throws(FDTError) {
        let oldCapacity = unsafe memory.count
        guard oldCapacity < limit else { throw .tooLarge(limit: limit) }
        let capacity = min(oldCapacity * 2, limit)
        let larger = UnsafeMutableRawBufferPointer.allocate(byteCount: capacity, alignment: 8)
        // SAFETY: both blocks are ours and do not overlap; fdt_resize moves the unfinished tree into the larger one.
        let result = unsafe fdt_resize(memory.baseAddress, larger.baseAddress, Int32(truncatingIfNeeded: capacity))
        guard result == 0 else {
            unsafe larger.deallocate()
            throw .library(code: 0 &- result)
        }
        unsafe memory.deallocate()
        unsafe memory = larger
    }
}
