# The library for programs in C++ and C, from sources or from the objects of a Python module: static, or shared with
# BUILD_SHARED_LIBS.
find_package(Threads REQUIRED)

# A binary for Linux shows the symbols that `symbols` names, and no others.
function(grokflow_show_only target symbols)
  if(UNIX AND NOT APPLE)
    set(map "${PROJECT_BINARY_DIR}/${symbols}.map")
    configure_file("${PROJECT_SOURCE_DIR}/cmake/${symbols}.map" "${map}" @ONLY)
    target_link_options(${target} PRIVATE "LINKER:--version-script=${map}")
    set_property(TARGET ${target} APPEND PROPERTY LINK_DEPENDS "${map}")
  endif()
endfunction()

function(grokflow_add_library)
  if(WIN32)
    set(BUILD_SHARED_LIBS OFF)  # where nothing is shared that is not marked
  endif()
  add_library(grokflow ${ARGN})
  add_library(grokflow::grokflow ALIAS grokflow)
  grokflow_compile_options(grokflow)
  target_compile_features(grokflow PUBLIC cxx_std_17)
  target_link_libraries(grokflow PUBLIC Eigen3::Eigen PRIVATE Threads::Threads)
  target_include_directories(grokflow INTERFACE
    "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/cpp/include;${PROJECT_BINARY_DIR}/include>"
    "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>")
  # Functions of Eigen are in a program only once, be they from a static library or from elsewhere, so that all of it has to
  # agree on them. A shared library keeps its own to itself.
  if(BUILD_SHARED_LIBS)
    grokflow_show_only(grokflow library)
    if(NOT GROKFLOW_PYTHON)  # a wheel holds no links
      set_target_properties(grokflow PROPERTIES
        VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
    endif()
  else()
    target_compile_definitions(grokflow INTERFACE EIGEN_DONT_PARALLELIZE)
    set_target_properties(grokflow PROPERTIES CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
  endif()
endfunction()
