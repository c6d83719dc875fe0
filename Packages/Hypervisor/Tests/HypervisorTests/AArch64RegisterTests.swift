import Hypervisor
import HypervisorTesting
import Testing

@Suite struct AArch64RegisterTests {
    /// Computed from the kernel's <asm/kvm.h> of arm64 by a C compiler.
    @Test func ids_areTheKernels() {
        #expect(AArch64Register.x(0).id == 0x6030_0000_0010_0000)
        #expect(AArch64Register.x(1).id == 0x6030_0000_0010_0002)
        #expect(AArch64Register.x(30).id == 0x6030_0000_0010_003C)
        #expect(AArch64Register.sp.id == 0x6030_0000_0010_003E)
        #expect(AArch64Register.pc.id == 0x6030_0000_0010_0040)
        #expect(AArch64Register.pstate.id == 0x6030_0000_0010_0042)
        #expect(AArch64Register.mpidr.id == 0x6030_0000_0013_C005)
        #expect(AArch64Register.virtualCounter.id == 0x6030_0000_0013_DF1A)
    }

    @Test func x_outOfRange_staysAmongTheGeneralRegisters() {
        #expect(AArch64Register.x(31) == .sp && AArch64Register.x(32) == .x(0) && AArch64Register.x(-1) == .sp)
        #expect(Set((0...31).map(AArch64Register.x)).count == 32)
    }

    @Test func mpidr_ofATestVCPU_isAsKVMDerivesIt() throws {
        for (id, mpidr) in [(UInt32(0), UInt64(0x8000_0000)), (15, 0x8000_000F), (16, 0x8000_0100), (130, 0x8000_0802), (4096, 0x8001_0000)] {
            #expect(try TestVirtualCPU(id: id).mpidr() == mpidr)
        }
    }
}
