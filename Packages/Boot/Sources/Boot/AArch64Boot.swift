public import AddressSpace
internal import BootAArch64
public import BootCommon

/// What the user and the machine decide about direct boot.
public struct AArch64BootConfiguration: Equatable, Sendable {
    public var kernelPath: String
    public var initrdPath: String?
    /// A multiple of 2 MiB.
    public var ramBase: UInt64
    /// Of the RAM that starts there, in bytes.
    public var ramSize: UInt64

    public init(kernelPath: String, initrdPath: String? = nil, ramBase: UInt64, ramSize: UInt64) {
        self.kernelPath = kernelPath
        self.initrdPath = initrdPath
        self.ramBase = ramBase
        self.ramSize = ramSize
    }
}

/// What became of the files.
public struct AArch64BootResult: Equatable, Sendable {
    /// Guest physical address of the kernel's first instruction: pc of the first vCPU.
    public let entry: UInt64
    /// For the device tree's `linux,initrd-start` and `linux,initrd-end`.
    public let initrd: GuestRange?
    /// Where the machine puts the device tree: the first 2 MiB of RAM. Nothing has been written there.
    public let deviceTree: GuestRange
}

/// Direct boot on aarch64: no firmware, the first vCPU starts in the kernel (Documentation/arch/arm64/booting.rst).
public enum AArch64Boot {
    /// Recognises the kernel, checks that everything fits, then writes kernel and initrd to `memory`. Blocks while it
    /// reads; any thread, before the vCPUs run.
    public static func load(
        _ configuration: AArch64BootConfiguration, into memory: GuestMemory
    ) throws(BootError) -> AArch64BootResult {
        let kernel = try BootFile.open(.kernel, path: configuration.kernelPath)
        // Optional noncopyable values cannot be borrowed out of, hence two branches.
        guard let initrdPath = configuration.initrdPath else {
            let plan = try load(kernel, initrd: nil, initrdSize: nil, configuration, into: memory)
            return AArch64BootResult(entry: plan.kernel.start, initrd: nil, deviceTree: plan.deviceTree)
        }
        let initrd = try BootFile.open(.initrd, path: initrdPath)
        let plan = try load(kernel, initrd: initrd.name, initrdSize: initrd.size, configuration, into: memory)
        if let range = plan.initrd { try initrd.load(from: 0, count: range.count, to: range.start, of: memory) }
        return AArch64BootResult(entry: plan.kernel.start, initrd: plan.initrd, deviceTree: plan.deviceTree)
    }

    /// Plans for both files and puts the kernel in its place.
    private static func load(
        _ kernel: borrowing BootFile, initrd: BootFileName?, initrdSize: UInt64?,
        _ configuration: AArch64BootConfiguration, into memory: GuestMemory
    ) throws(BootError) -> AArch64BootPlan {
        let name = kernel.name
        func plan(_ header: AArch64ImageHeader, kernelSize: UInt64) throws(BootError) -> AArch64BootPlan {
            try naming(name, initrd) { () throws(AArch64BootPlanError) in
                try AArch64BootPlan(
                    header: header, kernelSize: kernelSize, initrdSize: initrdSize, ramBase: configuration.ramBase,
                    ramSize: configuration.ramSize)
            }
        }
        switch try recognise(kernel) {
        case .image(let header, let size):
            let plan = try plan(header, kernelSize: size)
            try kernel.load(from: 0, count: size, to: plan.kernel.start, of: memory)
            return plan
        case .compressed(let format, let offset, let size):
            let payload = CompressedKernel(format: format, offset: offset, size: size)
            let space = try naming(name, initrd) { () throws(AArch64BootPlanError) in
                try AArch64BootPlan.kernelSpace(ramBase: configuration.ramBase, ramSize: configuration.ramSize)
            }
            let plan = try plan(try kernel.header(of: payload, using: space, of: memory), kernelSize: 0)
            _ = try kernel.decompress(payload, to: plan.room, of: memory)
            return plan
        }
    }

    private static func recognise(_ kernel: borrowing BootFile) throws(BootError) -> AArch64KernelFile {
        do throws(AArch64ImageError) {
            return try AArch64KernelFile(recognising: kernel)
        } catch .source(let error) {
            throw BootError(kernel.name, error)
        } catch {
            throw .aarch64Image(kernel.name, error)
        }
    }

    /// Says of an error which file it is about.
    private static func naming<Result>(
        _ kernel: BootFileName, _ initrd: BootFileName?, _ body: () throws(AArch64BootPlanError) -> Result
    ) throws(BootError) -> Result {
        do throws(AArch64BootPlanError) {
            return try body()
        } catch {
            throw .aarch64Plan(BootFileName.of(error.file, kernel: kernel, initrd: initrd), error)
        }
    }
}
