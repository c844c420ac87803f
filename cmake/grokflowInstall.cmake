# The installed package: find_package(grokflow CONFIG), then grokflow::grokflow.
include(CMakePackageConfigHelpers)

# An Eigen of the version that the library was built with, as far as its matrices go.
if(Eigen3_VERSION MATCHES "^3\\.4")
  set(GROKFLOW_EIGEN_BUILT 3.4...<3.5)
elseif(Eigen3_VERSION MATCHES "^[0-9]+")
  math(EXPR next "${CMAKE_MATCH_0} + 1")
  set(GROKFLOW_EIGEN_BUILT "${CMAKE_MATCH_0}...<${next}")
else()
  set(GROKFLOW_EIGEN_BUILT "${GROKFLOW_EIGEN_VERSIONS}")  # the parent's, which does not say
endif()

set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/grokflow")
install(TARGETS grokflow EXPORT grokflowTargets
  ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}" LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}")
install(DIRECTORY "${PROJECT_SOURCE_DIR}/cpp/include/grokflow" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
  FILES_MATCHING PATTERN "*.hpp" PATTERN "*.h")
install(FILES "${PROJECT_BINARY_DIR}/include/grokflow/version.h" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/grokflow")
install(EXPORT grokflowTargets NAMESPACE grokflow:: DESTINATION "${package_dir}")

configure_package_config_file(
  "${PROJECT_SOURCE_DIR}/cmake/grokflowConfig.cmake.in" "${PROJECT_BINARY_DIR}/grokflowConfig.cmake"
  INSTALL_DESTINATION "${package_dir}" NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file("${PROJECT_BINARY_DIR}/grokflowConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(
  FILES "${PROJECT_BINARY_DIR}/grokflowConfig.cmake" "${PROJECT_BINARY_DIR}/grokflowConfigVersion.cmake"
        "${PROJECT_SOURCE_DIR}/cmake/grokflowEigen.cmake"
  DESTINATION "${package_dir}")
